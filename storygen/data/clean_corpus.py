"""From sources to shards of clean stories: read, clean, filter, and drop what has come before.

Reading is one after the other, cleaning is spread over processes, and what depends on the order (duplicates, shards) is
again one after the other, so the result is the same for any number of processes. After each shard the state is
written: interrupted work goes on there.
"""

import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from storygen.config import Config, option, read_json, write_json
from storygen.data.clean_text import CleanConfig, clean
from storygen.data.dedupe import SIGNATURES, SeenStories
from storygen.data.filters import FilterConfig, Filters
from storygen.data.processes import BATCH_CHARACTERS, in_batches, mapped
from storygen.data.story import ReadReport, Story
from storygen.data.words import Words
from storygen.folders import UNFINISHED

STATE = "cleaning.json"
SEEN = "seen.db"
EXAMPLES = 3


@dataclass(frozen=True)
class DedupeConfig(Config):
    """Which stories count as the same."""

    duplicates: str = option(
        "near", "Drop exact and near copies, exact ones only, or none.", choices=("near", "exact", "keep")
    )
    similarity: float = option(0.8, "Share of equal runs of five words that makes a near copy.", low=0.1, high=1.0)


@dataclass(frozen=True)
class CleaningConfig:
    """All that decides which text comes out."""

    clean: CleanConfig = field(default_factory=CleanConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    dedupe: DedupeConfig = field(default_factory=DedupeConfig)
    shard_characters: int = 50_000_000
    """Of a shard of clean stories: what is lost at most when work is interrupted."""


@dataclass(frozen=True)
class Input:
    """A source of stories, how many times they are packed, and the side that they are for."""

    name: str
    stories: Callable[[ReadReport], Iterator[Story]]
    times: int = 1
    split: str = "train"
    """`train`, `valid`, or `known` for validation stories that another part of the corpus packs."""
    path: Path | None = None
    """The file, if it is one."""
    settings: str = ""
    """What else decides which stories come out."""
    part: "Callable[[int, int], Input] | None" = None
    """Gives part i of n of it, if it can be divided."""


@dataclass
class Counts:
    """What happened to the stories, for the manifest and the report."""

    read: int = 0
    kept: int = 0
    characters: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    """Stories that a cleaning step made another text of."""
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The beginnings of the first few that a rule dropped."""
    words: Counter[int] = field(default_factory=Counter)
    """Kept stories by the power of two below their number of words."""

    def drop(self, rule: str, line: str) -> None:
        """Counts a dropped story, of which this is the line."""
        self.dropped[rule] += 1
        examples = self.examples.setdefault(rule, [])
        if len(examples) < EXAMPLES:
            examples.append(" ".join(Clean.from_line(line).story.text[:300].split())[:160])

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values. (`dataclasses.asdict` makes counters of pairs out of counters.)"""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Counts":
        """What `to_dict` made, after JSON."""
        words = Counter({int(size): count for size, count in values["words"].items()})  # JSON has no other keys
        counters = {name: Counter(values[name]) for name in ("changed", "dropped")}
        return cls(**{**values, **counters, "words": words})


@dataclass
class State:
    """How far the cleaning has come, as of the last finished shard."""

    shards: list[str] = field(default_factory=list)
    input: int = 0
    """Number of the input that is being read."""
    stories: int = 0
    """Stories of it that have been read."""
    remembered: int = 0
    """Stories that later ones are compared with."""
    counts: Counts = field(default_factory=Counts)
    reports: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class Clean:
    """What a line of a shard of clean stories tells."""

    story: Story
    times: int
    split: str

    def to_line(self) -> str:
        """As JSON."""
        return json.dumps({**vars(self.story), "times": self.times, "split": self.split}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Clean":
        """What `to_line` made."""
        values = json.loads(line)
        times, split = values.pop("times"), values.pop("split")
        return cls(Story(**values), times, split)


def read_clean(path: Path) -> Iterator[Clean]:
    """The stories of a shard that `clean_all` wrote."""
    with path.open(encoding="utf-8") as lines:
        yield from map(Clean.from_line, lines)


class Cleaned(NamedTuple):
    """What a process makes of a story; no more than the one that decides needs, as it has to be sent."""

    line: str
    """Of the shard."""
    characters: int
    words: int
    reason: str
    """Why it is dropped, "" if it is kept."""
    changed: list[str]
    """The cleaning steps that made another text of it."""
    signed: bytes = b""
    """What copies are told by."""


class Batch(NamedTuple):
    """Stories of one input, with its number."""

    input: int
    times: int
    split: str
    stories: list[Story]


class Cleaner:
    """Cleans and judges single stories; what a process needs."""

    def __init__(self, config: CleaningConfig) -> None:
        self._config, self._filters = config, Filters(config.filter)

    def __call__(self, batch: Batch) -> tuple[int, list[Cleaned]]:
        """What becomes of the stories, with the number of their input."""
        return batch.input, [self._one(story, batch.times, batch.split) for story in batch.stories]

    def _one(self, story: Story, times: int, split: str) -> Cleaned:
        config, changed = self._config, []
        text = clean(story.text, config.clean, changed)
        head = (clean(part, config.clean) for part in (story.title, story.prompt))
        line = Clean(Story(text, *head, source=story.source), times, split).to_line()
        words = Words(text)
        reason = self._filters.reason(text, words) if text else "empty"
        sign = SIGNATURES.get(config.dedupe.duplicates)
        return Cleaned(line, len(text), len(words), reason, changed, sign(words) if sign else b"")


def clean_all(
    inputs: list[Input], work: Path, config: CleaningConfig, workers: int, progress: Callable[[int], None]
) -> State:
    """Writes shards of clean stories, JSON lines, into the folder and returns what happened.

    `workers` processes clean; 0 cleans in this one. `progress` is told how many characters have been read.
    """
    state = _load_state(work)
    if state.finished:
        return state
    reports = [ReadReport(source.name) for source in inputs]
    with mapped(Cleaner(config), workers) as cleaned, contextlib.closing(_Shards(work, config, state)) as shards:
        for number, stories in cleaned(_batches(inputs, reports, state.input, state.stories)):
            _pass_inputs(state, reports[:number])
            for story in stories:
                shards.add(story, inputs[number].split)
            progress(sum(story.characters for story in stories))
            if shards.size >= config.shard_characters:
                shards.finish()
        _pass_inputs(state, reports)
        state.finished = True
        shards.finish()
    return state


def _batches(inputs: list[Input], reports: list[ReadReport], first: int, done: int) -> Iterator[Batch]:
    """What is to be cleaned together, from input `first` on, of which so many stories are done."""
    for number in range(first, len(inputs)):
        source = inputs[number]
        stories = itertools.islice(source.stories(reports[number]), done if number == first else 0, None)
        for batch in in_batches(stories, lambda story: len(story.text), BATCH_CHARACTERS):
            yield Batch(number, source.times, source.split, batch)


def _pass_inputs(state: State, reports: list[ReadReport]) -> None:
    """Notes in the state that the inputs of these reports have been read."""
    for report in reports[state.input :]:
        state.reports.append(asdict(report))
        state.input, state.stories = state.input + 1, 0


class _Shards:
    """The shard that is being filled, and what has come before it."""

    def __init__(self, work: Path, config: CleaningConfig, state: State) -> None:
        self._work, self._config, self._state = work, config.dedupe, state
        self._file: TextIO | None = None
        self.size = 0
        """Characters of the stories read for it, kept or not."""
        self._seen = self._open_seen()

    def add(self, each: Cleaned, split: str) -> None:
        """Keeps the story, or counts why not."""
        counts = self._state.counts
        self.size += each.characters
        self._state.stories += 1
        counts.read += 1
        counts.changed.update(each.changed)
        # All validation stories stay: figures on them must not depend on these settings.
        is_valid = split != "train"
        reason = each.reason if each.reason == "empty" or not is_valid else ""
        if not reason and not is_valid and self._seen is not None:
            reason = {"": "", "train": "duplicate"}.get(self._seen.find(each.signed), "in validation")
        if reason:
            counts.drop(reason, each.line)
            return
        if self._seen is not None:
            self._seen.add(split, each.signed)
            self._state.remembered += 1
        if split == "known":
            return
        counts.kept += 1
        counts.characters += each.characters
        counts.words[each.words.bit_length()] += 1
        if self._file is None:
            self._file = (self._work / (self._name + UNFINISHED)).open("w", encoding="utf-8")
        self._file.write(each.line)

    @property
    def _name(self) -> str:
        return f"clean-{len(self._state.shards):05d}.jsonl"

    def finish(self) -> None:
        """Writes the shard, what was seen, and last the state that counts both as done."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            (self._work / (self._name + UNFINISHED)).replace(self._work / self._name)
            self._state.shards.append(self._name)
            self._file = None
        if self._seen is not None:
            self._seen.commit()
        write_json(self._work / STATE, {**vars(self._state), "counts": self._state.counts.to_dict()})
        self.size = 0

    def close(self) -> None:
        """Gives up what is not finished."""
        if self._seen is not None:
            self._seen.close()
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written before can't be now
                self._file.close()

    def _open_seen(self) -> SeenStories | None:
        if self._config.duplicates == "keep":
            return None
        threshold = self._config.similarity if self._config.duplicates == "near" else 1.0
        return SeenStories(self._work / SEEN, threshold, keep=self._state.remembered)


def _load_state(work: Path) -> State:
    if not (work / STATE).exists():
        return State()
    values = read_json(work / STATE)
    state = State(**{**values, "counts": Counts.from_dict(values["counts"])})
    return state if all((work / name).exists() for name in state.shards) else State()  # half removed: begin anew
