"""Stories in local files and folders: text, JSON lines, CSV, Parquet; the first three also compressed.

A file is read story by story, so memory does not grow with it. What cannot be read is counted in the `ReadReport` with
its file and line, and skipped.
"""

import codecs
import csv
import glob
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from storygen.config import Config, option
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError
from storygen.folders import UNFINISHED

COMPRESSED = ("", ".gz", ".zst")
SEPARATORS = ("<|endoftext|>", "<|end|>")
"""A line with only one of these ends a story in a .txt file."""
LONGEST_STORY = 1_000_000
"""A .txt file without separators is cut at the first empty line after this many characters, or any line after twice."""
LONGEST_LINE = 10_000_000
"""Characters of a line that are read; what is longer is no story."""


@dataclass(frozen=True)
class Columns(Config):
    """What the parts of a story are called in JSON lines, CSV and Parquet. Only the text has to be there."""

    text: str = option("text", "Column or key of the text.")
    title: str = option("title", "Of the title.")
    prompt: str = option("prompt", "Of the prompt.")
    source: str = option("source", "Of what the story is from: stories of one source are never split.")

    def story(self, values: dict[str, object], source: str) -> Story | None:
        """The story in a row, or None if its text is missing or no string."""
        text = values.get(self.text)
        if not isinstance(text, str):
            return None
        parts = {name: values.get(getattr(self, name)) for name in ("title", "prompt", "source")}
        return Story(text, **{"source": source, **{k: v for k, v in parts.items() if isinstance(v, str) and v}})


NAMES = Columns()


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The story files that paths and patterns name, folders searched whole, in sorted order."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = list(_files_in(path))
            if not inside:
                raise StorygenError(f"folder {path} holds no {', '.join(READERS)} file")
            found += inside
        elif path.exists():
            if _kind(path) is None:
                raise StorygenError(f"input {path} is of an unknown kind; known: {', '.join(READERS)}")
            found.append(path)
        elif matches := sorted(Path(match) for match in glob.glob(str(path), recursive=True)):
            found += find_files(matches)
        else:
            raise StorygenError(f"input {path} does not exist")
    return found


def _files_in(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise StorygenError(f"folder {error.filename} cannot be read: {error.strerror}")

    found = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.endswith(UNFINISHED)]  # of train.prepare itself
        found += [Path(where) / name for name in names]
    yield from sorted(file for file in found if _kind(file) is not None)


def _kind(path: Path) -> str | None:
    """The suffix under which a file's reader is listed."""
    return next((suffix for suffix in READERS if path.name.lower().endswith(suffix)), None)


def read_file(path: Path, report: ReadReport, columns: Columns = NAMES) -> Iterator[Story]:
    """The stories of one file; broken lines go to the report.

    StorygenError if it can't be opened or has no column for the text.
    """
    kind = _kind(path)
    if kind is None:
        raise StorygenError(f"input {path} is of an unknown kind; known: {', '.join(READERS)}")
    try:
        for story in READERS[kind](path, columns, report):
            report.stories += 1
            yield story
        if not report.stories and not report.skipped:
            report.skip(0, "no story in it")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        report.skip(0, f"compressed data is broken, the rest is lost ({error})")
    except OSError as error:
        if error.errno is not None:
            raise StorygenError(f"{path} cannot be read: {error.strerror or error}") from None
        report.skip(0, f"compressed data is broken, the rest is lost ({error})")  # what pyarrow says of a cut .zst


def read_files(paths: Iterable[Path]) -> Iterator[Story]:
    """The stories of several files, one after the other; broken lines are passed over."""
    for path in paths:
        yield from read_file(path, ReadReport(path.name))


def _open_text(path: Path) -> TextIO:
    """The text of a file, unpacked; bytes that are not UTF-8 come as surrogates. A byte order mark tells UTF-16."""
    if path.name.lower().endswith(".zst"):
        import pyarrow  # slow to import

        stream = pyarrow.input_stream(str(path), compression="zstd")
        return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    with path.open("rb") as file:
        start = file.read(2)
    encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return path.open(encoding=encoding, errors="replace" if encoding == "utf-16" else "surrogateescape", newline="\n")


def _lines(text: TextIO) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it was cut because it is too long; the rest of such a line is passed over."""
    while line := text.readline(LONGEST_LINE):
        cut = len(line) == LONGEST_LINE and not line.endswith("\n")
        yield line, cut
        while cut and (rest := text.readline(LONGEST_LINE)) and not rest.endswith("\n"):
            pass


def _read_txt(path: Path, columns: Columns, report: ReadReport) -> Iterator[Story]:
    held: list[str] = []
    size = 0
    with _open_text(path) as text:
        number, cut = 0, False
        while line := text.readline(LONGEST_STORY):
            begins, cut = not cut, len(line) == LONGEST_STORY and not line.endswith("\n")
            number += begins
            if begins and cut:
                report.repair(number, f"a line of more than {LONGEST_STORY:,} characters was cut")
            ends = line.strip() in SEPARATORS
            if not ends:
                held.append(_decoded(line, number, report))
                size += len(line)
            if ends or (size > LONGEST_STORY and not line.strip()) or size > 2 * LONGEST_STORY:
                if size:
                    yield Story("".join(held), source=path.name)
                held, size = [], 0
    if "".join(held).strip():
        yield Story("".join(held), source=path.name)


def _decoded(line: str, number: int, report: ReadReport) -> str:
    """The line with undecodable bytes read as Windows-1252, which is what they usually are."""
    if line.isascii() or not any("\udc80" <= character <= "\udcff" for character in line):
        return line
    report.repair(number, "not UTF-8, read as Windows-1252")
    return line.encode("utf-8", errors="surrogateescape").decode("cp1252", errors="replace")


def _read_jsonl(path: Path, columns: Columns, report: ReadReport) -> Iterator[Story]:
    with _open_text(path) as text:
        for number, (line, cut) in enumerate(_lines(text), 1):
            if not line.strip():
                continue
            if cut:
                report.skip(number, f"a line of more than {LONGEST_LINE:,} characters")
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                report.skip(number, f"not valid JSON ({error.msg}, character {error.pos + 1})")
                continue
            except (ValueError, RecursionError) as error:
                report.skip(number, f"not valid JSON ({error})")
                continue
            story = columns.story(values, path.name) if isinstance(values, dict) else None
            if story is None:
                report.skip(number, f'no "{columns.text}" with a string')
            elif _is_utf8(line):
                yield story
            else:
                report.skip(number, "not valid UTF-8")


def _is_utf8(line: str) -> bool:
    return line.isascii() or not any("\udc80" <= character <= "\udcff" for character in line)


def _read_csv(path: Path, columns: Columns, report: ReadReport) -> Iterator[Story]:
    csv.field_size_limit(LONGEST_LINE)
    with _open_text(path) as text:
        reader = csv.DictReader(text, delimiter="\t" if ".tsv" in path.name.lower() else ",")
        try:
            names = reader.fieldnames
        except csv.Error as error:
            report.skip(1, f"not valid CSV ({error})")
            return
        if names is None:  # an empty file
            return
        _check_columns(path, columns, names)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                report.skip(reader.line_num, f"not valid CSV ({error})")
                continue
            story = columns.story(row, path.name)
            if story is None:
                report.skip(reader.line_num, f"no {columns.text!r}")
            elif _is_utf8(story.text):
                yield story
            else:
                report.skip(reader.line_num, "not valid UTF-8")


def _read_parquet(path: Path, columns: Columns, report: ReadReport) -> Iterator[Story]:
    import pyarrow  # slow to import
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, columns, names)
            wanted = [name for name in dict.fromkeys(columns.to_dict().values()) if name in names]
            for batch in file.iter_batches(batch_size=256, columns=wanted):
                for row in batch.to_pylist():
                    story = columns.story(row, path.name)
                    if story is None:
                        report.skip(report.stories + report.skipped + 1, f"no {columns.text!r} with a string")
                    else:
                        yield story
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        report.skip(report.stories + 1, f"not a whole Parquet file, the rest is lost ({str(error).splitlines()[0]})")


def _check_columns(path: Path, columns: Columns, names: Iterable[str]) -> None:
    if columns.text not in names:
        has = ", ".join(names) or "none"
        raise StorygenError(f"{path} has no column {columns.text!r}; it has {has}; say which by files:PATH?text=COLUMN")


_BY_KIND: dict[str, Callable[[Path, Columns, ReadReport], Iterator[Story]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
}
READERS = {kind + packed: read for kind, read in _BY_KIND.items() for packed in COMPRESSED} | {
    ".parquet": _read_parquet
}
"""What reads a file, by the end of its name."""
