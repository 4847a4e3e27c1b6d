"""Where stories come from, named in one line: `KIND:WHAT?SETTING=VALUE&...@TIMES`.

tales                                           the corpus that ships with the package
files:stories/*.csv?text=body&title=name@2      local files, folders and patterns; read twice as often
gutenberg:11,35  gutenberg:?subject=fairy tales Project Gutenberg's books by number, author, title, subject
hub:user/name?split=train&text=story            a dataset on the Hub
tinystories  writingprompts  bookcorpus         datasets whose columns are known here
"""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

from storygen.config import Config, unknown_name
from storygen.data.clean_corpus import Input
from storygen.data.files import Columns, find_files, read_file
from storygen.data.gutenberg import GutenbergSource
from storygen.data.hub import DATASETS, HubSource
from storygen.data.story import ReadReport, Story
from storygen.data.tales import builtin_tales
from storygen.errors import StorygenError

KINDS = ("tales", "files", "gutenberg", "hub", *DATASETS)


def parse_source(text: str, split: str = "train") -> list[Input]:
    """The inputs that a line names, all for one split; but the built-in tales bring their own validation stories."""
    body, times = _split_times(text)
    head, _, query = body.partition("?")
    kind, _, what = head.partition(":")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    if kind not in KINDS:
        raise StorygenError(f"source {text!r}: no such file, and {unknown_name('kind of source', kind, KINDS)}")
    try:
        if kind == "tales":
            _refuse(settings or what, "the built-in tales take no settings")
            train, valid = builtin_tales()
            return [*file_inputs(train, times, split), *file_inputs(valid, 1, "valid")]
        if kind == "files":
            return file_inputs(find_files([what]), times, split, _with_texts(Columns, settings))
        if kind == "gutenberg":
            ids = tuple(number.strip() for number in what.split(",") if number.strip())
            source = _with_texts(GutenbergSource, {"ids": ids, **settings} if ids else settings)
            return [Input(body, source.stories, times, split, settings=source.to_json())]
        if kind != "hub":
            _refuse(what, f"write {kind}?split=...")
            settings = {**DATASETS[kind].to_dict(), **settings}
        return [_hub_input(body, _with_texts(HubSource, {"repo": what, **settings}), times, split)]
    except StorygenError as error:
        raise StorygenError(f"source {text!r}: {error}") from None


def _hub_input(name: str, source: HubSource, times: int, split: str) -> Input:
    def part(number: int, of: int) -> Input:
        limit = source.limit and max(1, source.limit // of + (number < source.limit % of))
        return _hub_input(name, source.replace(part=number, parts=of, limit=limit), times, split)

    return Input(name, source.stories, times, split, settings=source.to_json(), part=part)


def named_inputs(texts: Iterable[str], split: str) -> list[Input]:
    """The inputs that some words name: sources, or else paths."""
    return [each for text in texts for each in parse_source(text if _is_source(text) else f"files:{text}", split)]


def _is_source(text: str) -> bool:
    """Whether a text that names no file begins with a kind of source, or with what may be meant as one."""
    word = re.match(r"\w*", text).group()
    after = text[len(word) : len(word) + 1]
    if Path(_split_times(text)[0]).exists() or after not in ("", ":", "?", "@"):
        return False
    return (after == ":" and len(word) > 1) or bool(difflib.get_close_matches(word, KINDS, n=1))


def divide(train: Iterable[str], valid: Iterable[str]) -> tuple[list[Input], list[Input], int]:
    """Validation and training inputs, and how many files are left out of the training ones for being in both.

    Each file has a name that tells it from the others.
    """
    inputs = named_inputs(valid, "valid") + named_inputs(train, "train")
    names = told_apart({each.path.resolve() for each in inputs if each.path})
    inputs = [dataclasses.replace(i, name=names[i.path.resolve()]) if i.path else i for i in inputs]
    asked, held_out = ([each for each in inputs if each.split == split] for split in ("train", "valid"))
    paths = {each.path.resolve() for each in held_out if each.path}
    kept = [each for each in asked if not (each.path and each.path.resolve() in paths)]
    return held_out, kept, len(asked) - len(kept)


def told_apart(paths: Iterable[Path]) -> dict[Path, str]:
    """For each of some different paths its end, as long as it must be to tell it from the others."""
    names: dict[Path, str] = {}
    alike, length = set(paths), 1
    while alike:
        ends = {path: Path(*path.parts[-length:]).as_posix() for path in alike}
        times = Counter(ends.values())
        names |= ends
        alike, length = {path for path in alike if times[ends[path]] > 1}, length + 1
    return names


def file_inputs(paths: list[Path], times: int, split: str, columns: Columns | None = None) -> list[Input]:
    """An input for each file. One that can't be read at all is told in its report, and the others are read."""

    def reader(path: Path) -> Input:
        def stories(report: ReadReport) -> Iterator[Story]:
            try:
                yield from read_file(path, report, columns or Columns())
            except StorygenError as error:
                report.skip(0, str(error).removeprefix(f"{path} "))

        return Input(path.name, stories, times, split, path, (columns or Columns()).to_json())

    return [reader(path) for path in paths]


def _split_times(text: str) -> tuple[str, int]:
    """What is before an `@TIMES` at the end, and the times."""
    body, mark, times = text.rpartition("@")
    if not mark or not times.isdecimal() or Path(text.partition(":")[2] or text).exists():
        return text, 1
    if int(times) < 1:
        raise StorygenError(f"source {text!r}: the number after @ must be 1 or more")
    return body, int(times)


def _with_texts(config: type[Config], values: dict[str, object]) -> Config:
    """A config whose numbers and truths may be given as text."""
    return config.from_dict({name: _value(config, name, value) for name, value in values.items()})


def _value(config: type[Config], name: str, value: object) -> object:
    field = config.__dataclass_fields__.get(name)
    if field is None or not isinstance(value, str):
        return value
    hint = str(field.type)
    if "bool" in hint and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    for kind in (int, float):
        if kind.__name__ in hint:
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _refuse(wrong: object, right: str) -> None:
    if wrong:
        raise StorygenError(right)
