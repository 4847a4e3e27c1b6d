"""Votes on disk: append-only JSON lines, on stable storage before anybody is thanked.

Each process writes a file of its own, so two of them never touch the same one; readers take all files of the folder.
"""

import codecs
import contextlib
import hashlib
import json
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from filelock import FileLock, Timeout

from storygen.errors import StorygenError

SCHEMA = 1
VERDICTS = ("left", "right", "tie", "both_bad", "skip")
TAGS = ("grammar", "sense", "creative", "prompt")
"""What a rater may say about the better story; on a single story each is given one to five stars."""
MAX_NOTE = 500
"""Characters of a rater's note."""
MAX_LINE = 1_000_000
"""Bytes of a record; a longer line is damage."""


class VoteStore:
    """Appends votes to one file in `directory`, which is made on the first vote."""

    def __init__(self, directory: str | Path) -> None:
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.path = Path(directory) / f"{started}-{uuid.uuid4().hex}.jsonl"
        self.saved = 0
        """Records that this process has put on disk."""
        self.on_save: list[Callable[[], None]] = []
        """Called after each record, when it is on disk: who copies records elsewhere is woken so."""
        self._lock = threading.Lock()
        self._held: FileLock | None = None

    def append(self, record: dict[str, Any]) -> dict[str, Any]:
        """Writes one record, with schema, id and time added, and returns it once it is safely on disk.

        Raises StorygenError when it can't be written; the file then ends where it ended before.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"schema": SCHEMA, "id": uuid.uuid4().hex, "ts": now, **record}
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", errors="replace")
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if self._held is None:
                    self._held = lock_of(self.path)
                    with contextlib.suppress(OSError):  # a file system without locks still takes votes
                        self._held.acquire(timeout=0)
                _append(self.path, line)
                self.saved += 1
        except OSError as error:
            raise StorygenError(f"the vote could not be saved in {self.path.parent}: {error.strerror}") from None
        for wake in self.on_save:
            wake()
        return record


def lock_of(shard: Path) -> FileLock:
    """The lock that the process which writes a shard holds while it lives."""
    return FileLock(shard.with_suffix(".lock"))


def left_behind(directory: Path) -> list[Path]:
    """The shards of a folder whose processes have ended."""
    shards = []
    for shard in sorted(directory.glob("*.jsonl")):
        lock = lock_of(shard)
        with contextlib.suppress(Timeout), lock.acquire(timeout=0):
            shards.append(shard)
    return shards


class VoteReader:
    """Reads the records of folders, and later only what was added: each id once, whichever folder has it first.

    Takes shards (`*.jsonl`) and files of one record (`*.json`). A line without its end may still be being written and
    waits; a damaged one is skipped and counted in `damaged`, by file.
    """

    def __init__(self, *folders: str | Path) -> None:
        self.folders = [Path(folder) for folder in folders]
        self.damaged: Counter[str] = Counter()
        self.paths: list[Path] = []
        """Files read so far; `Place.file` is an index into them."""
        self._read_to: list[int] = []
        self._index: dict[Path, int] = {}
        self._seen: set[int] = set()

    def new(self) -> Iterator[tuple[dict[str, Any], "Place"]]:
        """Records that were not there at the last call, with their places."""
        for folder in self.folders:
            for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.json")]):
                if path not in self._index:
                    self._index[path] = len(self.paths)
                    self.paths.append(path)
                    self._read_to.append(0)
                file = self._index[path]
                try:
                    if path.stat().st_size > self._read_to[file]:
                        yield from self._new_in(path, file)
                except OSError as error:
                    self.damaged[f"{path.name} ({error.strerror})"] += 1

    def at(self, place: "Place") -> dict[str, Any]:
        """The record at a place, read again; StorygenError if it is there no more."""
        path = self.paths[place.file]
        try:
            with path.open("rb") as lines:
                lines.seek(place.offset)
                return json.loads(lines.readline())
        except (OSError, ValueError):
            raise StorygenError(f"{path.name} in the folder of votes can't be read any more") from None

    def _new_in(self, path: Path, file: int) -> Iterator[tuple[dict[str, Any], "Place"]]:
        with path.open("rb") as lines:
            lines.seek(self._read_to[file])
            while line := lines.readline(MAX_LINE):
                offset = self._read_to[file]
                if not line.endswith(b"\n"):
                    if len(line) < MAX_LINE and path.suffix == ".jsonl":
                        return  # it may go on
                    while (rest := lines.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                self._read_to[file] = lines.tell()
                record = parse_record(line)
                if record is None:
                    self.damaged[path.name] += 1
                elif (key := hash_of(record["id"])) not in self._seen:
                    self._seen.add(key)
                    yield record, Place(file, offset)


class Place(NamedTuple):
    """Where a record is: the number of its file, and the byte at which its line begins."""

    file: int
    offset: int


def read_votes(directory: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a folder, file by file, each id once. A torn or damaged line is skipped."""
    return (record for record, _ in VoteReader(directory).new())


def parse_record(line: bytes) -> dict[str, Any] | None:
    """The record in a line, None if it is none."""
    try:
        record = orjson.loads(line.removeprefix(codecs.BOM_UTF8))  # some editors put one at the start of a file
        orjson.dumps(record)  # it writes nothing nested deeper than 254, before json would exceed Python's recursion
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("id"), str) else None


def hash_of(text: str) -> int:
    """63 bits of a text, the same in every process: small enough to keep a million of them in memory."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


def _append(path: Path, line: bytes) -> None:
    """Writes the whole line through to the disk, or none of it.

    Without Python's buffer, which would write its rest when it is closed, after the failure has been dealt with.
    """
    is_new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(file).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, before)  # half a line would swallow the next one
            raise
    finally:
        os.close(file)
    if is_new:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Puts a new file's name on disk too, where the system can (Windows and some mounts do it by themselves)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
