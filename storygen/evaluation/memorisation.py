"""What of a story stands in the training text word for word: by a small index anywhere, exactly where the text is.

Words are compared in lower case and without marks; no run of them spans two training stories. The index holds a hash of
each run of eight words and of each word, so that the text itself need not be there.
"""

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from storygen.data.story import Story
from storygen.data.words import Words
from storygen.errors import StorygenError
from storygen.folders import UNFINISHED

RUN = 8
"""Words of a run: shorter ones are the language's, not an author's."""
FILE = "memorisation.safetensors"
"""Name of an index that goes with a checkpoint."""
BITS, LOOKS = 15, 10
"""Bits of the index for each run, and how many a run sets: 0.07 % of unseen runs find all of theirs set."""
_TENSORS = {"bits": np.uint8, "words": np.uint32}
_COUNTS = ("runs", "stories", "characters")


@dataclass(frozen=True, eq=False)
class Index:
    """A set of runs and a set of words of a training text, which may say of one that was never in it that it was.

    The runs are in a Bloom filter (Bloom 1970), with places by double hashing (Kirsch and Mitzenmacher 2006).
    """

    bits: np.ndarray
    """uint8 (bytes,)."""
    words: np.ndarray
    """CRC-32 of each word, in order, uint32 (words,)."""
    runs: int
    """How many different runs it was made of."""
    stories: int
    """How many the training text has."""
    characters: int
    """And how many of these."""

    @functools.cached_property
    def false_positives(self) -> float:
        """The chance that a run which is not in the training text is taken for one that is."""
        return float(np.bitwise_count(self.bits).mean() / 8) ** LOOKS

    @property
    def bytes(self) -> int:
        """Its size in memory and, but for a header, on disk."""
        return self.bits.nbytes + self.words.nbytes

    def has_runs(self, words: Words) -> np.ndarray:
        """Whether each run of eight words is in the training text, bool (words - 7,)."""
        hashes = words.runs(RUN)
        found = np.ones(len(hashes), dtype=bool)
        for places in _places(hashes, 8 * len(self.bits)):
            found &= (self.bits[places >> 3] >> (7 - (places & 7)) & 1).astype(bool)
        return found

    def has_words(self, words: Words) -> np.ndarray:
        """Whether each word is in the training text, bool (words,)."""
        return _is_in(words.numbers.astype(np.uint32), self.words)

    def save(self, path: str | Path) -> None:
        """Writes the index as a safetensors file, aside and then in its place."""
        path = Path(path)
        work = path.with_name(path.name + UNFINISHED)
        counts = {name: str(getattr(self, name)) for name in _COUNTS}
        try:
            save_file({name: getattr(self, name) for name in _TENSORS}, work, metadata={"run": str(RUN), **counts})
            work.chmod(0o644)  # the library lets nobody but the owner read it
            work.replace(path)
        except (SafetensorError, OSError) as error:
            raise StorygenError(f"{path} cannot be written: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> "Index":
        """The index in a file, or in the folder of a checkpoint that has one; StorygenError if it is none."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        if not path.exists():
            raise StorygenError(f"there is no index of training text at {path}; make one: train.evaluate index --help")
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
                index = cls(**tensors, **{name: int(about[name]) for name in _COUNTS})
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise StorygenError(f"{path} is no index of training text: {error}") from None
        fits = all(tensors[name].dtype == kind and tensors[name].ndim == 1 for name, kind in _TENSORS.items())
        if about.get("run") != str(RUN) or not fits or not len(index.bits):
            raise StorygenError(f"{path} is no index of training text: its parts do not fit together")
        return index


@dataclass(frozen=True)
class Copying:
    """How much of one story the index knows."""

    runs: int
    """Runs of eight words that it has."""
    seen: int
    """Of those, that are in the training text, at one place or another."""
    longest: int
    """Words of the longest stretch all runs of which are: what was copied at a stretch is not longer."""
    stretch: str
    """That stretch, as the index reads it: lower case, no marks."""

    @property
    def share(self) -> float:
        """Of the runs, that are in the training text."""
        return self.seen / self.runs if self.runs else 0.0


@dataclass(frozen=True)
class Copy:
    """The longest run of a story's words that a training story has too."""

    length: int
    words: str
    source: str
    """The file or book of that story."""
    title: str
    number: int
    """Its place among the training stories, from 1."""


def build_index(texts: Iterable[str]) -> Index:
    """The index of a training text, read once."""
    runs, words = [], np.zeros(0, dtype=np.uint32)
    unmerged: list[np.ndarray] = []
    number = characters = 0
    for number, text in enumerate(texts, 1):
        story = Words(text)
        characters += len(text)
        runs.append(story.runs(RUN))
        unmerged.append(story.numbers.astype(np.uint32))
        if number % 1000 == 0:
            words, unmerged = _unique(np.concatenate([words, *unmerged])), []
    words = _unique(np.concatenate([words, *unmerged]))
    if not len(words):
        raise StorygenError("there is no word in the training text to make an index of")
    hashes = _unique(np.concatenate(runs))
    size = max(1, -(-BITS * len(hashes) // 8))
    is_set = np.zeros(8 * size, dtype=bool)
    for first in range(0, len(hashes), 2**20):  # at a time, so that the places take little memory
        for places in _places(hashes[first : first + 2**20], 8 * size):
            is_set[places] = True
    return Index(np.packbits(is_set), words, len(hashes), number, characters)


def copying(story: str, index: Index) -> Copying:
    """What the index knows of a story: milliseconds, and no training text is needed."""
    words = Words(story)
    seen = index.has_runs(words)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], seen.astype(np.int8), [0])))).reshape(-1, 2)  # (stretches, 2)
    if not len(edges):
        return Copying(len(seen), 0, 0, "")
    first, stop = edges[np.argmax(edges[:, 1] - edges[:, 0])]
    stretch = words.list[first : stop + RUN - 1]
    return Copying(len(seen), int(seen.sum()), len(stretch), b" ".join(stretch).decode())


def unseen_words(story: str, index: Index) -> tuple[int, int]:
    """How many words of a story are not in the training text, and how many it has."""
    words = Words(story)
    return int((~index.has_words(words)).sum()), len(words)


def find_copies(stories: Sequence[str], training: Iterable[Story]) -> list[Copy | None]:
    """For each story the longest run of words that a training story has, exactly, and the first place where it is.

    None if there is none of eight words. Reads the training text once for all stories.
    """
    told = [Words(story) for story in stories]
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    """Hash of a run -> (story, place) of each that has it."""
    for story, words in enumerate(told):
        for place, run in enumerate(words.runs(RUN).tolist()):
            places[run].append((story, place))
    wanted = np.array(sorted(places), dtype=np.uint64)
    best: list[Copy | None] = [None] * len(told)
    for number, source in enumerate(training, 1):
        text = Words(source.text)
        runs = text.runs(RUN)
        for at in np.flatnonzero(_is_in(runs, wanted)).tolist():
            for story, place in places[int(runs[at])]:
                words = told[story].list
                if at and place and words[place - 1] == text.list[at - 1]:
                    continue  # in the middle of a run that was measured from its start
                length = _common(words[place:], text.list[at : at + len(words)])
                if length >= RUN and (best[story] is None or length > best[story].length):
                    run = b" ".join(words[place : place + length]).decode()
                    best[story] = Copy(length, run, source.source, source.title, number)
    return best


def _common(left: Sequence[bytes], right: Sequence[bytes]) -> int:
    """How many items two lists have in common at their start."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))


def _places(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """The places of each hash among so many bits, one array (hashes,) after the other."""
    first, step = _mixed(hashes), _mixed(hashes ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    for _ in range(LOOKS):
        yield ((first >> np.uint64(32)) * np.uint64(bits) >> np.uint64(32)).astype(np.int64)
        first = first + step


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """The hashes with every bit dependent on every other (the finaliser of SplitMix64, Steele et al. 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _unique(values: np.ndarray) -> np.ndarray:
    """The different values, in order. On millions of integers np.unique takes several times as long."""
    values.sort()
    return values[np.concatenate((np.ones(min(1, len(values)), dtype=bool), values[1:] != values[:-1]))]


def _is_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Whether each value is among some that are in order."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[places] == values
