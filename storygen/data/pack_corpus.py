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
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from storygen.config import Config, option, read_json, write_json
from storygen.data.chunk import join_up, sentences
from storygen.data.clean_corpus import exit_with_parent, map_in_order, told_what_broke
from storygen.data.prompts import Keywords, draw_continuation, draw_prompt
from storygen.data.shards import ShardWriter, join_summaries, token_dtype
from storygen.data.story import Story
from storygen.errors import StorygenError
from storygen.folders import UNFINISHED
from storygen.tokenizers import KINDS, Tokenizer, load_tokenizer, train_tokenizer, well_formed
from storygen.tokenizers.figures import measure_tokenizer

FEW_SOURCES = 20
"""With fewer sources than this, one of them could be most of the text: single stories are split instead."""
BATCH = 256
"""Stories that are encoded together."""
FIT_STORIES = 200
"""On so many stories the tokenizer's figures are measured."""
PROMPT_TOKENS = 48
"""Room that a piece of a long story leaves for its prompt."""
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class PackConfig(Config):
    """How clean stories are packed."""

    tokenizer: str = option("bpe", "Kind of tokenizer to train.", choices=KINDS)
    vocab_size: int = option(4096, "Its number of tokens, the special ones included.", low=8, high=1_000_000)
    valid_fraction: float = option(0.05, "Share of the stories held out when no --valid is given.", low=0.0, high=0.9)
    sample_mb: int = option(20, "Millions of characters that tokenizer and keywords are learnt from.", low=1)
    chunking: str = option(
        "story",
        "How training windows lie: within stories, through all of the text, or through it with an overlap.",
        choices=("story", "packed", "sliding"),
    )
    piece_tokens: int | None = option(
        None, "story: cut training stories that have more tokens at sentence ends; the pieces keep the title.", low=64
    )
    stride: int = option(64, "sliding: tokens from the beginning of one window to that of the next.", low=1)
    seed: int = option(0, "Draws the form of each story's prompt.", low=0)

    def check(self) -> None:
        if self.piece_tokens is not None and self.chunking != "story":
            self.refuse("piece_tokens", "it goes with chunking story only")


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
    """The stories of a shard that `clean_corpus` wrote."""
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
        unfinished = path.with_name(path.name + UNFINISHED)
        tokenizer.save(unfinished)
        unfinished.replace(path)
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


@dataclass(frozen=True)
class Piece:
    """What becomes one entry of a token shard."""

    text: str
    prompt: str
    split: str
    ends: bool = True


class Packer:
    """Packs tasks; what a process needs."""

    def __init__(self, out: Path, keywords: Keywords, split: Split, config: PackConfig) -> None:
        self._out, self._keywords, self._split, self._config = out, keywords, split, config
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
            pieces = [piece for story, split in batch for piece in self._pieces(story, split, task.turn)]
            texts = self._tokenizer.encode_batch([piece.text for piece in pieces])
            prompts = self._tokenizer.encode_batch([piece.prompt for piece in pieces])
            for piece, text, prompt in zip(pieces, texts, prompts, strict=True):
                tokens = self._tokenizer.framed(text, prompt)
                tokens = tokens if piece.ends else tokens[:-1]
                writers[piece.split].add(tokens, len(piece.text.encode()))
                fingerprint.update(f"{piece.split} {tokens}".encode())
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

    def _pieces(self, story: Story, split: str, turn: int) -> Iterator[Piece]:
        """The story as it is packed: whole, or as several pieces of which only the last has an end."""
        if split == "valid":
            yield Piece(story.text, "", split)
            return
        limit = self._config.piece_tokens
        # A token has a byte at least, so a short text needs not be encoded to know that it fits.
        if limit is None or len(story.text.encode()) <= limit - PROMPT_TOKENS:
            yield Piece(story.text, draw_prompt(story, self._keywords, self._draw(story, turn)), split)
            return
        parts = sentences(story.text)
        sizes = [len(tokens) for tokens in self._tokenizer.encode_batch(parts)]
        pieces = join_up(parts, sizes, max(1, limit - PROMPT_TOKENS))
        for number, text in enumerate(pieces):
            draw = self._draw(story, turn, number)
            if number:
                prompt = draw_continuation(story.title, text, self._keywords, draw)
            else:
                prompt = draw_prompt(replace(story, text=text), self._keywords, draw)
            yield Piece(text, prompt, split, ends=number == len(pieces) - 1)

    def _draw(self, story: Story, turn: int, number: int = 0) -> random.Random:
        return random.Random(f"{self._config.seed} {turn} {number} {_hash(story.text)}")


_packer: Packer


def _start(*settings: Any) -> None:
    global _packer
    exit_with_parent()
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
    settings = (out, keywords, split, config)
    packed = []
    if workers:
        with told_what_broke(), ProcessPoolExecutor(workers, get_context("spawn"), _start, settings) as pool:
            results: Iterator[dict[str, Any]] = map_in_order(pool, _pack, tasks, 2 * workers)
            packed = [_told(result, task, progress) for task, result in zip(tasks, results, strict=True)]
    else:
        pack = Packer(*settings)
        packed = [_told(pack(task), task, progress) for task in tasks]
    for task in tasks:
        (out / f"{task.name}.json").unlink()
    splits = {name: join_summaries(part["splits"][name] for part in packed) for name in SPLITS}
    if not splits["train"]["shards"]:
        raise StorygenError("every story fell into the validation split; lower --valid-fraction or add text")
    chunking: dict[str, Any] = {"kind": config.chunking}
    if config.chunking == "sliding":
        chunking["stride"] = config.stride
    if config.piece_tokens is not None:
        chunking["piece_tokens"] = config.piece_tokens
    prints = [part["fingerprint"] for part in packed]
    return {
        "dtype": token_dtype(tokenizer.vocab_size).name,
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "fingerprint": tokenizer.fingerprint,
            "lossless": tokenizer.lossless,
        },
        "tokenizer_fit": _fit(tokenizer, shards, split),
        "fingerprint": hashlib.sha256(repr([tokenizer.fingerprint, chunking, prints]).encode()).hexdigest(),
        "chunking": chunking,
        "split": "by file" if not split.below else "by source" if split.by_source else "by story",
        "splits": splits,
    }


def _fit(tokenizer: Tokenizer, shards: list[Path], split: Split) -> dict[str, float]:
    """How the tokenizer fits the validation stories, or the first ones where there are none."""
    stories = itertools.chain.from_iterable(map(read_clean, shards))
    held_out = (c for c in stories if c.split == "valid" or (split.below and split.of(c.story) == "valid"))
    texts = [clean.story.text for clean in itertools.islice(held_out, FIT_STORIES)]
    if not texts:
        first = itertools.chain.from_iterable(map(read_clean, shards))
        texts = [clean.story.text for clean in itertools.islice(first, FIT_STORIES)]
    return {name: round(value, 5) for name, value in asdict(measure_tokenizer(tokenizer, texts)).items()}


def _told(result: dict[str, Any], task: Task, progress: Callable[[int], None]) -> dict[str, Any]:
    progress(task.clean.stat().st_size)
    return result


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(well_formed(text).encode(), digest_size=8).digest(), "big")
