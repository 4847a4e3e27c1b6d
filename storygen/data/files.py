"""Stories in local files and folders.

A file is read story by story, so memory does not grow with it. What cannot be read is counted in the `ReadReport` with
its file and line, and skipped.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz")
SEPARATORS = ("<|endoftext|>", "<|end|>")
"""A line with only one of these ends a story in a .txt file."""
LONGEST_STORY = 1_000_000
"""A .txt file without separators is cut at the first empty line after this many characters, or any line after twice."""


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The story files that the paths name, folders searched whole, in sorted order."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES))
            if not inside:
                raise StorygenError(f"folder {path} holds no {', '.join(SUFFIXES)} file")
            found += inside
        elif not path.exists():
            raise StorygenError(f"input {path} does not exist")
        elif not path.name.endswith(SUFFIXES):
            raise StorygenError(f"input {path} is of an unknown kind; known: {', '.join(SUFFIXES)}")
        else:
            found.append(path)
    return found


def read_file(path: Path, report: ReadReport) -> Iterator[Story]:
    """The stories of one file; broken lines go to the report."""
    read = _read_txt if path.name.endswith(".txt") else _read_jsonl
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            for story in read(lines, path.name, report):
                report.stories += 1
                yield story
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        report.skip(0, f"compressed data is broken, the rest is lost ({error})")
    except OSError as error:
        raise StorygenError(f"{path} cannot be read: {error.strerror or error}") from None


def _read_txt(lines: TextIO, name: str, report: ReadReport) -> Iterator[Story]:
    held: list[str] = []
    size = 0
    for number, line in enumerate(lines, 1):
        ends = line.strip() in SEPARATORS
        if not ends:
            held.append(_decoded(line, number, report))
            size += len(line)
        if ends or (size > LONGEST_STORY and not line.strip()) or size > 2 * LONGEST_STORY:
            if size:
                yield Story("".join(held), source=name)
            held, size = [], 0
    if "".join(held).strip():
        yield Story("".join(held), source=name)


def _decoded(line: str, number: int, report: ReadReport) -> str:
    """The line with undecodable bytes read as Windows-1252, which is what they usually are."""
    if line.isascii() or not any("\udc80" <= character <= "\udcff" for character in line):
        return line
    report.repair(number, "not UTF-8, read as Windows-1252")
    return line.encode("utf-8", errors="surrogateescape").decode("cp1252", errors="replace")


def _read_jsonl(lines: TextIO, name: str, report: ReadReport) -> Iterator[Story]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            report.skip(number, f"not valid JSON ({error})")
            continue
        if not isinstance(values, dict) or not isinstance(values.get("text"), str):
            report.skip(number, 'no "text" with a string')
            continue
        try:
            line.encode("utf-8")
        except UnicodeEncodeError:
            report.skip(number, "not valid UTF-8")
            continue
        known = {key: values[key] for key in ("title", "prompt", "source") if isinstance(values.get(key), str)}
        yield Story(values["text"], **{"source": name, **known})
