"""Votes on disk: append-only JSON lines, on stable storage before anybody is thanked.

Each process writes a file of its own, so two of them never touch the same one; readers take all files of the folder.
"""

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
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                is_new = not self.path.exists()
                with open(self.path, "ab") as file:
                    before = file.tell()
                    try:
                        file.write(line)
                        file.flush()
                        os.fsync(file.fileno())
                    except OSError:
                        os.truncate(self.path, before)  # half a line would swallow the next one
                        raise
                if is_new:
                    _sync_directory(self.path.parent)
            except OSError as error:
                raise StorygenError(f"the vote could not be saved in {self.path.parent}: {error.strerror}") from None
        return record


def read_votes(directory: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a folder, file by file, each id once. A torn or damaged line is skipped."""
    seen: set[str] = set()
    for path in sorted(Path(directory).glob("*.jsonl")):
        with open(path, "rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict) and isinstance(record.get("id"), str) and record["id"] not in seen:
                    seen.add(record["id"])
                    yield record


def _sync_directory(directory: Path) -> None:
    """Puts a new file's name on disk too. Where a folder can't be opened (Windows), the file system does it itself."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
