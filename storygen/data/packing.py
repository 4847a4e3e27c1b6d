"""From shards of clean stories to packed token shards: tokenizer, prompts, tokens.

Each shard of clean stories becomes shards of tokens of its own, for each turn that a weighted story takes, so shards
are packed in any number of processes, and interrupted work goes on with those that are missing.
"""

import hashlib
import heapq
import itertools
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from storygen.config import Config, option, read_json, write_json
from storygen.data.cleaning import map_in_order
from storygen.data.pack import ShardWriter
from storygen.data.prompts import Keywords, draw_prompt
from storygen.data.story import Story
from storygen.errors import StorygenError
from storygen.tokenizers import KINDS, Tokenizer, load_tokenizer, train_tokenizer, well_formed

FEW_SOURCES = 20
"""With fewer sources than this, one of them could be most of the text: single stories are split instead."""
BATCH = 256
"""Stories that are encoded together."""
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class PackConfig(Config):
    """How clean stories are packed."""

    tokenizer: str = option("bpe", "Kind of tokenizer to train.", choices=KINDS)
    vocab_size: int = option(4096, "Its number of tokens, the special ones included.", low=8, high=1_000_000)
    valid_fraction: float = option(0.05, "Share of the stories held out when no --valid is given.", low=0.0, high=0.9)
    sample_mb: int = option(20, "Millions of characters that tokenizer and keywords are learnt from.", low=1)
    seed: int = option(0, "Draws the form of each story's prompt.", low=0)


class Sample:
    """At most `limit` characters of texts, whatever the corpus: those with the smallest hashes, so a uniform sample."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        """Offers one text to the sample."""
        heapq.heappush(self._heap, (-_hash(text), text))
        self._size += len(text)
        while self._size > self._limit and len(self._heap) > 1:
            self._size -= len(heapq.heappop(self._heap)[1])

    @property
    def texts(self) -> list[str]:
        """The sampled texts, in an order that does not depend on that of the corpus."""
        return [text for _, text in sorted(self._heap)]


@dataclass(frozen=True)
class Split:
    """Which stories are held out, as far as no validation files say it."""

    by_source: bool
    below: int
    """Those whose hash is less."""

    def of(self, story: Story) -> str:
        """The split of a training story."""
        return "valid" if _hash(story.source if self.by_source else story.text) < self.below else "train"


@dataclass(frozen=True)
class Clean:
    """A line of a shard of clean stories."""

    story: Story
    times: int
    split: str


def read_clean(path: Path) -> Iterator[Clean]:
    """The stories of a shard that `cleaning` wrote."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line)
            times, split = values.pop("times"), values.pop("split")
            yield Clean(Story(**values), times, split)


def survey(shards: Iterable[Path], config: PackConfig) -> tuple[list[str], Split, int]:
    """A sample of the training texts, how they are to be split, and how often the most weighted story is packed."""
    sample, sources, first_source, turns, has_valid = Sample(config.sample_mb * 1_000_000), set[str](), 2**64, 1, False
    for clean in itertools.chain.from_iterable(map(read_clean, shards)):
        if clean.split == "valid":
            has_valid = True
            continue
        sample.add(clean.story.text)
        turns = max(turns, clean.times)
        first_source = min(first_source, _hash(clean.story.source))
        if len(sources) < FEW_SOURCES:
            sources.add(clean.story.source)
    by_source = len(sources) >= FEW_SOURCES
    below = 0 if has_valid else int(config.valid_fraction * 2**64)
    if below and by_source:
        below = max(below, first_source + 1)  # at least one source
    return sample.texts, Split(by_source, below), turns


def make_tokenizer(texts: list[str], config: PackConfig, reuse: Path | None, out: Path) -> Tokenizer:
    """The tokenizer of the folder, trained or taken from a file, and written there."""
    path = out / "tokenizer.json"
    if not path.exists():
        tokenizer = load_tokenizer(reuse) if reuse else train_tokenizer(config.tokenizer, texts, config.vocab_size)
        tokenizer.save(path)
    return load_tokenizer(path)


@dataclass(frozen=True)
class Task:
    """A shard of clean stories to pack in one turn: all of them in turn 0, later those that have a weight left."""

    number: int
    turn: int
    clean: Path

    @property
    def name(self) -> str:
        """What the token shards' names begin with after the split's."""
        return f"{self.turn:02d}-{self.number:05d}"


class Packer:
    """Packs tasks; what a process needs."""

    def __init__(self, out: Path, keywords: Keywords, split: Split, seed: int) -> None:
        self._out, self._keywords, self._split, self._seed = out, keywords, split, seed
        self._tokenizer = load_tokenizer(out / "tokenizer.json")

    def __call__(self, task: Task) -> dict[str, Any]:
        """Writes the shards of a task, unless they are there, and returns their entry in the manifest."""
        record = self._out / f"{task.name}.json"
        if record.exists():
            return read_json(record)
        writers = {
            split: ShardWriter(self._out, f"{split}-{task.name}", self._tokenizer.vocab_size) for split in SPLITS
        }
        fingerprint = hashlib.sha256()
        stories = self._stories(task)
        while batch := list(itertools.islice(stories, BATCH)):
            prompts = [self._prompt(story, task.turn) if split == "train" else "" for story, split in batch]
            texts = self._tokenizer.encode_batch([story.text for story, _ in batch])
            for (story, split), text, prompt in zip(batch, texts, self._tokenizer.encode_batch(prompts), strict=True):
                writers[split].add(self._tokenizer.framed(text, prompt), len(story.text.encode()))
                fingerprint.update(json.dumps([split, story.title, story.prompt, story.text]).encode())
        for writer in writers.values():
            writer.finish()
        packed = {
            "fingerprint": fingerprint.hexdigest(),
            "splits": {split: writer.summary() for split, writer in writers.items()},
        }
        unfinished = record.with_suffix(".unfinished")
        write_json(unfinished, packed)
        unfinished.replace(record)
        return packed

    def _stories(self, task: Task) -> Iterator[tuple[Story, str]]:
        for clean in read_clean(task.clean):
            split = clean.split if clean.split == "valid" else self._split.of(clean.story)
            # A story that is held out stays out, however often its file is read.
            if task.turn == 0 or (split == "train" and clean.times > task.turn):
                yield clean.story, split

    def _prompt(self, story: Story, turn: int) -> str:
        return draw_prompt(story, self._keywords, random.Random(f"{self._seed} {turn} {_hash(story.text)}"))


_packer: Packer


def _start(*settings: Any) -> None:
    global _packer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process for each core is enough
    _packer = Packer(*settings)


def _pack(task: Task) -> dict[str, Any]:
    return _packer(task)


def pack_all(
    shards: list[Path], out: Path, config: PackConfig, reuse: Path | None, workers: int, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Packs the shards of clean stories into the folder and returns what the manifest says of it.

    `workers` processes pack; 0 packs in this one. `progress` is told the clean shards' bytes that are done.
    """
    texts, split, turns = survey(shards, config)
    if not texts:
        raise StorygenError("no usable training story was left")
    tokenizer = make_tokenizer(texts, config, reuse, out)
    keywords = Keywords()
    for text in texts:
        keywords.learn(text)
    tasks = [Task(number, turn, clean) for turn in range(turns) for number, clean in enumerate(shards)]
    settings = (out, keywords, split, config.seed)
    packed = []
    if workers:
        with ProcessPoolExecutor(workers, get_context("spawn"), _start, settings) as pool:
            results: Iterator[dict[str, Any]] = map_in_order(pool, _pack, tasks, 2 * workers)
            packed = [_told(result, task, progress) for task, result in zip(tasks, results, strict=True)]
    else:
        pack = Packer(*settings)
        packed = [_told(pack(task), task, progress) for task in tasks]
    for task in tasks:
        (out / f"{task.name}.json").unlink()
    splits = {name: _sum(part["splits"][name] for part in packed) for name in SPLITS}
    if not splits["train"]["shards"]:
        raise StorygenError("every story fell into the validation split; lower --valid-fraction or add text")
    has_valid = split.below == 0 and splits["valid"]["stories"]
    return {
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "fingerprint": tokenizer.fingerprint,
            "lossless": tokenizer.lossless,
        },
        "fingerprint": hashlib.sha256("".join(part["fingerprint"] for part in packed).encode()).hexdigest(),
        "split": "by file" if has_valid else "by source" if split.by_source else "by story",
        "splits": splits,
    }


def _told(result: dict[str, Any], task: Task, progress: Callable[[int], None]) -> dict[str, Any]:
    progress(task.clean.stat().st_size)
    return result


def _sum(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    parts = list(parts)
    totals = {key: sum(part[key] for part in parts) for key in ("stories", "tokens", "bytes")}
    return {**totals, "shards": [shard for part in parts for shard in part["shards"]]}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(well_formed(text).encode(), digest_size=8).digest(), "big")
