"""Stories that have come before, word for word or nearly so.

Near ones are found by MinHash (Broder 1997) on runs of five words with locality-sensitive hashing: a signature is cut
into bands, and two stories that share a band are compared by their whole signatures. Signatures and bands lie in a
database file, so memory does not grow with the corpus.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np

from storygen.data.words import Words

BANDS, ROWS = 12, 4
"""Stories that share half of their runs share a band with probability 0.54, those that share 0.8 with 0.998."""
SHINGLE = 5
_BLOCK = 8192
"""Runs that are looked at together: their products stay in the cache."""
_FACTORS = 2 * np.random.RandomState(1).randint(2**31, size=(BANDS * ROWS, 1), dtype=np.uint32) + np.uint32(1)
"""Products with an odd number, modulo 2 ** 32, permute the numbers below: each factor is a hash function."""


def shingles(words: Words) -> np.ndarray:
    """A number, uint32, for each run of five words; of fewer words for the whole."""
    runs = words.runs(max(1, min(SHINGLE, len(words))))
    return (runs >> np.uint64(32)).astype(np.uint32) if len(runs) else np.zeros(1, dtype=np.uint32)


def signature(words: Words) -> bytes:
    """The MinHash of a text, BANDS * ROWS uint16: the share of equal ones estimates that of equal shingles.

    Of each smallest hash the lower half is kept (b-bit MinHash, Li & König 2010): four are one number for SQLite.
    """
    runs = shingles(words)
    lowest = np.full(BANDS * ROWS, 2**32 - 1, dtype=np.uint32)
    for first in range(0, len(runs), _BLOCK):
        np.minimum(lowest, (runs[first : first + _BLOCK] * _FACTORS).min(axis=1), out=lowest)
    return lowest.astype(np.uint16).tobytes()


def exact_signature(words: Words) -> bytes:
    """Eight uint16 that are the same for the same words, and else all different."""
    return hashlib.blake2b(b" ".join(words.list), digest_size=16).digest()


SIGNATURES: dict[str, Callable[[Words], bytes]] = {"near": signature, "exact": exact_signature}
"""By what duplicates are told."""


def similarity(one: bytes, other: bytes) -> float:
    """The share of equal places in two signatures."""
    return float(np.mean(np.frombuffer(one, np.uint16) == np.frombuffer(other, np.uint16)))


class SeenStories:
    """The stories so far, in a database file."""

    def __init__(self, path: Path, threshold: float = 0.8, keep: int = 0) -> None:
        """Opens or makes the file; of what is in it, the first `keep` stories are kept.

        `threshold`: the share of equal places in the signatures from which a story is the same as another.
        """
        self._threshold = threshold
        self._base = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA synchronous = OFF",  # a process may be killed, but the machine is trusted to stay up
            "PRAGMA cache_size = -32768",  # kB
            "BEGIN",
            "CREATE TABLE IF NOT EXISTS stories (number INTEGER PRIMARY KEY, name TEXT, signature BLOB)",
            "CREATE TABLE IF NOT EXISTS bands (key INTEGER, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID",
        ):
            self._base.execute(statement)
        for table in ("stories", "bands"):
            self._base.execute(f"DELETE FROM {table} WHERE number > ?", (keep,))

    def __len__(self) -> int:
        return self._base.execute("SELECT count(*) FROM stories").fetchone()[0]

    def find(self, signed: bytes) -> str:
        """The name of an earlier story that is the same as the one with this signature, or ""."""
        bands = _bands(signed)
        marks = ",".join("?" * len(bands))
        rows = self._base.execute(
            f"SELECT name, signature FROM bands JOIN stories USING (number) WHERE key IN ({marks})", bands
        )
        for name, other in rows:
            if similarity(signed, other) >= self._threshold:
                return name
        return ""

    def add(self, name: str, signed: bytes) -> None:
        """Remembers a story under a name."""
        inserted = self._base.execute("INSERT INTO stories (name, signature) VALUES (?, ?)", (name, signed))
        rows = [(band, inserted.lastrowid) for band in _bands(signed)]
        self._base.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", rows)

    def commit(self) -> None:
        """Makes what was added last."""
        self._base.execute("COMMIT")
        self._base.execute("BEGIN")

    def close(self) -> None:
        """Closes the file; what was added since the last commit is lost."""
        self._base.close()


def _bands(signed: bytes) -> list[int]:
    """A key for each band. Those of different places come from different hashes, so they don't meet."""
    return memoryview(signed).cast("q").tolist()
