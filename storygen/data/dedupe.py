"""Stories that have come before, word for word or nearly so.

Near ones are found by MinHash (Broder 1997) on runs of five words with locality-sensitive hashing: a signature is cut
into bands, and two stories that share a band are compared by their whole signatures. Signatures and bands lie in a
database file, so memory does not grow with the corpus.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

BANDS, ROWS = 16, 4
"""Stories that share half of their runs share a band with probability 0.64, those that share 0.7 with 0.99."""
SHINGLE = 5
_WORD = re.compile(r"[^\W_]+")


def shingles(text: str) -> set[bytes]:
    """All runs of five words, without case and marks; of a shorter text the whole."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[i : i + SHINGLE]).encode() for i in range(max(1, len(words) - SHINGLE + 1))}


def signature(text: str) -> np.ndarray:
    """The MinHash of a text, uint32 (BANDS * ROWS,): the share of equal places estimates that of equal shingles."""
    from datasketch import MinHash  # slow to import

    sketch = MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=_hash)
    sketch.update_batch(shingles(text))
    return sketch.hashvalues.astype(np.uint32)


def _hash(shingle: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(shingle, digest_size=4).digest(), "little")


def exact_key(text: str) -> bytes:
    """The same for texts that differ in case, marks and spaces only."""
    return hashlib.blake2b(" ".join(_WORD.findall(text.lower())).encode(), digest_size=16).digest()


class SeenStories:
    """The stories so far, in a database file."""

    def __init__(self, path: Path, threshold: float | None = 0.8, keep: int = 0) -> None:
        """Opens or makes the file; of what is in it, the first `keep` stories are kept.

        `threshold`: the share of equal shingles from which a story is the same as another; None for exact copies only.
        """
        self._threshold = threshold
        self._base = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA synchronous = OFF",  # a process may be killed, but the machine is trusted to stay up
            "BEGIN",
            "CREATE TABLE IF NOT EXISTS stories (number INTEGER PRIMARY KEY, name TEXT, signature BLOB)",
            "CREATE TABLE IF NOT EXISTS exact (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS bands (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID",
        ):
            self._base.execute(statement)
        for table in ("stories", "exact", "bands"):
            self._base.execute(f"DELETE FROM {table} WHERE number > ?", (keep,))

    def __len__(self) -> int:
        return self._base.execute("SELECT count(*) FROM stories").fetchone()[0]

    def find(self, key: bytes, signed: np.ndarray | None) -> str:
        """The name of an earlier story that is the same as the one with this exact key and signature, or ""."""
        found = self._base.execute(
            "SELECT name FROM exact JOIN stories USING (number) WHERE key = ?", (key,)
        ).fetchone()  # fmt: skip
        if found or signed is None or self._threshold is None:
            return found[0] if found else ""
        marks = ",".join("?" * BANDS)
        rows = self._base.execute(
            f"SELECT DISTINCT name, signature FROM bands JOIN stories USING (number) WHERE key IN ({marks})",
            list(_bands(signed)),
        )
        for name, other in rows:
            if np.mean(np.frombuffer(other, dtype=np.uint32) == signed) >= self._threshold:
                return name
        return ""

    def add(self, name: str, key: bytes, signed: np.ndarray | None) -> None:
        """Remembers a story under a name."""
        blob = None if signed is None else signed.tobytes()
        number = self._base.execute("INSERT INTO stories (name, signature) VALUES (?, ?)", (name, blob)).lastrowid
        self._base.execute("INSERT OR IGNORE INTO exact VALUES (?, ?)", (key, number))
        if signed is not None:
            self._base.executemany(
                "INSERT OR IGNORE INTO bands VALUES (?, ?)", ((band, number) for band in _bands(signed))
            )

    def commit(self) -> None:
        """Makes what was added last."""
        self._base.execute("COMMIT")
        self._base.execute("BEGIN")

    def close(self) -> None:
        """Closes the file; what was added since the last commit is lost."""
        self._base.close()


def _bands(signed: np.ndarray) -> Iterable[bytes]:
    """A key for each band, the band's number in it."""
    for number, band in enumerate(signed.reshape(BANDS, ROWS)):
        yield bytes([number]) + band.tobytes()
