"""Output folders: nothing is replaced unasked, and nothing half-written ever stands under a finished name."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from storygen.errors import StorygenError

UNFINISHED = ".unfinished"
"""Ends the names of folders and files in which something is being made."""
LOCK = ".lock"
"""A file in a folder that is being written, on which the writer holds a lock."""


def output_folder(path: Path, overwrite: bool, marks: Iterable[str], inputs: Iterable[Path] = ()) -> Path:
    """The resolved path of a folder that may be written.

    An existing one must be empty, or, with `overwrite`, hold a file named in `marks`: then it is an earlier output of
    the same command and not somebody's home. It may not hold, be or lie in one of the inputs.
    """
    path, marks = path.resolve(), list(marks)
    for source in (source.resolve() for source in inputs):
        if path == source or path in source.parents or source in path.parents:
            raise StorygenError(f"--out {path} must not hold, be or lie in the input {source}; give another folder")
    if path.exists() and not path.is_dir():
        raise StorygenError(f"--out {path} is a file; name a folder")
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        if not overwrite:
            raise StorygenError(f"--out {path} exists; give another folder, or --overwrite to replace it")
        if not any((path / mark).exists() for mark in marks):
            raise StorygenError(f"--out {path} holds no {' or '.join(marks)}: it is not replaced; give another folder")
    return path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, which is made if need be, until the block or the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StorygenError(f"another process is writing into {folder}; wait for it, or give another folder") from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, text: str) -> None:
    """Writes a text file aside and puts it in its place: however it is cut, the old one or the new one is there."""
    work = path.with_name(path.name + UNFINISHED)
    work.write_text(text, encoding="utf-8")
    work.replace(path)


def clear(folder: Path) -> None:
    """Empties a folder, but for the lock that is held on it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextlib.contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write into; it takes its place when the block ends well, else it is removed."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unfinished-", dir=folder.parent))
    work, old = aside / "new", aside / "old"
    try:
        work.mkdir()
        yield work
        if folder.exists():
            folder.rename(old)
        try:
            work.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
