"""The story files that a command line of evaluation or tuning names, and what is read of them."""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storygen.data.files import find_files, read_file, read_files
from storygen.data.sources import builtin_tales
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError


@dataclass(frozen=True)
class Texts:
    """The texts of a story file, as they are, read again each time: memory does not grow with the file."""

    file: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return (story.text for story in read_files([self.file]) if story.text.strip())


def text_files(given: Sequence[str]) -> list[Path]:
    """The files that the command line names, or the built-in validation stories."""
    return find_files(given) if given else builtin_tales()[1]


def training_files(given: Sequence[str]) -> list[Path]:
    """The files that the command line names, or the built-in training stories."""
    return find_files(given) if given else builtin_tales()[0]


def named(files: Sequence[Path]) -> dict[str, Path]:
    """Each file by its name, or by its path where two have the same name."""
    names = Counter(file.name for file in files)
    return {file.name if names[file.name] == 1 else str(file): file for file in files}


def stories_in(file: Path) -> Iterator[Story]:
    """The stories of a file that have text; lines that can't be used are reported on standard error, at the end."""
    notes = ReadReport(file.name)
    yield from (story for story in read_file(file, notes) if story.text.strip())
    for example in notes.examples:
        print(f"note: {example}", file=sys.stderr)


def read_texts(file: Path) -> Texts:
    """The texts of a story file; StorygenError if it has none."""
    count = sum(1 for _ in stories_in(file))
    if not count:
        raise StorygenError(f"{file} holds no story")
    return Texts(file, count)


def read_prompts(files: Sequence[Path], count: int) -> list[tuple[str, str]]:
    """The first (prompt or title, text) pairs of the files."""
    pairs = list(itertools.islice(asked_in(read_files(files)), count))
    if not pairs:
        raise StorygenError("no story of the files has a prompt or a title; name others with --prompts")
    return pairs


def asked_in(stories: Iterable[Story]) -> Iterator[tuple[str, str]]:
    """(prompt or title, text) of the stories that have one of them."""
    return ((story.prompt or story.title, story.text) for story in stories if story.prompt or story.title)
