"""Votes on disk: append-only JSON lines, on stable storage before anybody is thanked.

Each process writes a file of its own, so two of them never touch the same one; readers take all files of the folder.
"""

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storygen.errors import StorygenError

SCHEMA = 1
VERDICTS = ("left", "right", "tie", "both_bad")


class VoteStore:
    """Appends votes to one file in `directory`, which is made on the first vote."""

    def __init__(self, directory: str | Path) -> None:
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.path = Path(directory) / f"{started}-{uuid.uuid4().hex}.jsonl"
        self._lock = threading.Lock()

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
                _append(self.path, line)
        except OSError as error:
            raise StorygenError(f"the vote could not be saved in {self.path.parent}: {error.strerror}") from None
        return record


def read_votes(directory: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a folder, file by file, each id once. A torn or damaged line is skipped."""
    seen: set[str] = set()
    for path in sorted(Path(directory).glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and isinstance(record.get("id"), str) and record["id"] not in seen:
                    seen.add(record["id"])
                    yield record


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
