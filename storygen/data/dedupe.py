"""Stories that have come before, word for word or nearly so.

Near ones are found by MinHash (Broder 1997) on runs of five words with locality-sensitive hashing: a signature is cut
into bands, and two stories that share a band are compared by their whole signatures. Signatures and bands lie in a
database file, so memory does not grow with the corpus.
"""

import functools
import hashlib
import re
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasketch import MinHash

BANDS, ROWS = 12, 4
"""Stories that share half of their runs share a band with probability 0.54, those that share 0.8 with 0.998."""
SHINGLE = 5
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words that stories are compared by: without case and marks."""
    return _WORD.findall(text.lower())


def exact_key(words: Sequence[str]) -> bytes:
    """The same for the same words."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()


def shingles(words: Sequence[str]) -> np.ndarray:
    """A number, uint32, for each different run of five words; of fewer words for the whole.

    Hashes of the words, summed with another odd factor for each place.
    """
    hashes = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    length = max(1, min(SHINGLE, len(hashes)))
    runs = np.zeros(max(1, len(hashes) - length + 1), dtype=np.uint64)
    if len(hashes):
        for place in range(length):
            runs += hashes[place : place + len(runs)] * np.uint64(_FACTORS[place])
    return np.unique((runs >> np.uint64(32)).astype(np.uint32))


def signature(words: Sequence[str]) -> np.ndarray:
    """The MinHash of a text, uint32 (BANDS * ROWS,): the share of equal places estimates that of equal shingles."""
    sketch = _empty().copy()
    sketch.update_batch(shingles(words).tolist())
    return sketch.hashvalues.astype(np.uint32)


@functools.cache
def _empty() -> "MinHash":
    """A sketch of nothing; its permutations take as long to draw as a text to sketch."""
    from datasketch import MinHash  # slow to import

    return MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=int)


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
            "CREATE TABLE IF NOT EXISTS bands (key BLOB, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID",
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
