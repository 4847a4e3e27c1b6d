"""From sources to shards of clean stories: read, clean, filter, and drop what has come before.

Reading is one after the other, cleaning is spread over processes, and what depends on the order (duplicates, shards) is
again one after the other, so the result is the same for any number of processes. After each shard the state is
written: interrupted work goes on there.
"""

import contextlib
import itertools
import json
import os
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from storygen.config import Config, option, read_json, write_json
from storygen.data.clean_text import CleanConfig, clean
from storygen.data.dedupe import SeenStories, exact_key, signature, words_of
from storygen.data.filters import FilterConfig, Filters
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError

STATE = "cleaning.json"
SEEN = "seen.db"
BATCH_CHARACTERS = 100_000
"""Characters of text that are cleaned together."""
EXAMPLES = 3
In, Out = TypeVar("In"), TypeVar("Out")


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

    def drop(self, rule: str, text: str) -> None:
        """Counts a dropped story."""
        self.dropped[rule] += 1
        examples = self.examples.setdefault(rule, [])
        if len(examples) < EXAMPLES:
            examples.append(" ".join(text[:300].split())[:160])

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
class Cleaned:
    """What a process makes of a story."""

    story: Story
    reason: str
    """Why it is dropped, "" if it is kept."""
    changed: tuple[str, ...]
    key: bytes = b""
    signed: np.ndarray | None = None


class Cleaner:
    """Cleans and judges single stories; what a process needs of the settings."""

    def __init__(self, config: CleaningConfig) -> None:
        self._config, self._filters = config, Filters(config.filter)

    def __call__(self, stories: list[Story]) -> list[Cleaned]:
        return [self._one(story) for story in stories]

    def _one(self, story: Story) -> Cleaned:
        config, changed = self._config, Counter[str]()
        text = clean(story.text, config.clean, changed)
        head = (clean(part, config.clean) for part in (story.title, story.prompt))
        story = Story(text, *head, source=story.source)
        reason = self._filters.reason(text) if text else "empty"
        if reason == "empty" or config.dedupe.duplicates == "keep":
            return Cleaned(story, reason, tuple(changed))
        words = words_of(text)
        signed = signature(words) if config.dedupe.duplicates == "near" else None
        return Cleaned(story, reason, tuple(changed), exact_key(words), signed)


_cleaner: Cleaner


def exit_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that was."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _start(config: CleaningConfig) -> None:
    global _cleaner
    exit_with_parent()
    _cleaner = Cleaner(config)


def _clean(stories: list[Story]) -> list[Cleaned]:
    return _cleaner(stories)


def clean_all(
    inputs: list[Input], work: Path, config: CleaningConfig, workers: int, progress: Callable[[int], None]
) -> State:
    """Writes shards of clean stories, JSON lines, into the folder and returns what happened.

    `workers` processes clean; 0 cleans in this one. `progress` is told how many characters have been read.
    """
    state = _load_state(work)
    if state.finished:
        return state
    with (
        told_what_broke(),
        _processes(config, workers) as run,
        contextlib.closing(_Shards(work, config, state)) as shards,
    ):
        for number in range(state.input, len(inputs)):
            source, report = inputs[number], ReadReport(inputs[number].name)
            stories = itertools.islice(source.stories(report), state.stories, None)
            for cleaned in run(_batches(stories)):
                for each in cleaned:
                    shards.add(each, source)
                progress(sum(len(each.story.text) for each in cleaned))
                if shards.size >= config.shard_characters:
                    shards.finish()
            state.reports.append(asdict(report))
            state.input, state.stories = number + 1, 0
        state.finished = True
        shards.finish()
    return state


class _Shards:
    """The shard that is being filled, and what has come before it."""

    def __init__(self, work: Path, config: CleaningConfig, state: State) -> None:
        self._work, self._config, self._state = work, config.dedupe, state
        self._lines: list[str] = []
        self.size = 0
        """Characters of the stories read for it, kept or not."""
        self._seen = self._open_seen()

    def add(self, each: Cleaned, source: Input) -> None:
        """Keeps the story, or counts why not."""
        counts, text = self._state.counts, each.story.text
        self.size += len(text)
        self._state.stories += 1
        counts.read += 1
        counts.changed.update(each.changed)
        # All validation stories stay: figures on them must not depend on these settings.
        is_valid = source.split != "train"
        reason = each.reason if each.reason == "empty" or not is_valid else ""
        if not reason and self._seen is not None:
            name = "" if is_valid else self._seen.find(each.key, each.signed)
            reason = {"": "", "train": "duplicate"}.get(name, "in validation")
        if reason:
            counts.drop(reason, text)
            return
        if self._seen is not None:
            self._seen.add(source.split, each.key, each.signed)
            self._state.remembered += 1
        if source.split == "known":
            return
        counts.kept += 1
        counts.characters += len(text)
        counts.words[len(text.split()).bit_length()] += 1
        self._lines.append(json.dumps({**asdict(each.story), "times": source.times, "split": source.split}))

    def finish(self) -> None:
        """Writes the shard, what was seen, and last the state that counts both as done."""
        if self._lines:
            name = f"clean-{len(self._state.shards):05d}.jsonl"
            with (self._work / name).open("w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in self._lines)
                file.flush()
                os.fsync(file.fileno())
            self._state.shards.append(name)
        if self._seen is not None:
            self._seen.commit()
        unfinished = self._work / (STATE + ".unfinished")
        write_json(unfinished, {**vars(self._state), "counts": self._state.counts.to_dict()})
        unfinished.replace(self._work / STATE)
        self._lines, self.size = [], 0

    def close(self) -> None:
        """Gives up what is not finished."""
        if self._seen is not None:
            self._seen.close()

    def _open_seen(self) -> SeenStories | None:
        if self._config.duplicates == "keep":
            return None
        threshold = self._config.similarity if self._config.duplicates == "near" else None
        return SeenStories(self._work / SEEN, threshold, keep=self._state.remembered)


def _load_state(work: Path) -> State:
    if not (work / STATE).exists():
        return State()
    values = read_json(work / STATE)
    state = State(**{**values, "counts": Counts.from_dict(values["counts"])})
    return state if all((work / name).exists() for name in state.shards) else State()  # half removed: begin anew


def _batches(stories: Iterable[Story]) -> Iterator[list[Story]]:
    batch: list[Story] = []
    size = 0
    for story in stories:
        batch.append(story)
        size += len(story.text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextlib.contextmanager
def _processes(
    config: CleaningConfig, workers: int
) -> Iterator[Callable[[Iterator[list[Story]]], Iterator[list[Cleaned]]]]:
    """What cleans batches in order, in so many processes."""
    if not workers:
        cleaner = Cleaner(config)
        yield lambda batches: map(cleaner, batches)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (config,)) as pool:
        try:
            yield lambda batches: map_in_order(pool, _clean, batches, 2 * workers)
        finally:
            pool.shutdown(cancel_futures=True)


def map_in_order(pool: Executor, function: Callable[[In], Out], items: Iterable[In], ahead: int) -> Iterator[Out]:
    """As `map`, with so many items on their way at most: `Executor.map` would read all of them at once."""
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def told_what_broke() -> Iterator[None]:
    """Turns what a killed worker or a full disk does to the block into a StorygenError."""
    try:
        yield
    except BrokenProcessPool:
        raise StorygenError(
            "a worker process was killed, for want of memory perhaps; give fewer --workers and start again: what is "
            "finished is kept"
        ) from None
    except sqlite3.Error as error:
        raise StorygenError(f"the database of the stories seen cannot be used: {error}") from None
