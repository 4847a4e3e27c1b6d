"""From shards of clean stories to packed token shards: tokenizer, prompts, tokens.

Each shard of clean stories becomes shards of tokens of its own, for each turn that a weighted story takes, so shards
are packed in any number of processes, and interrupted work goes on with those that are missing.
"""

import functools
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from storygen.config import Config, option, read_json, write_json
from storygen.data.chunk import join_up, sentences
from storygen.data.clean_corpus import Clean, read_clean
from storygen.data.processes import BATCH_CHARACTERS, in_batches, mapped
from storygen.data.prompts import Keywords, draw_continuation, draw_prompt
from storygen.data.shards import CHUNKINGS, ShardWriter, join_summaries, token_dtype
from storygen.data.story import Story
from storygen.data.survey import Split, survey, text_hash
from storygen.errors import StorygenError
from storygen.folders import write_whole
from storygen.tokenizers import KINDS, Tokenizer, load_tokenizer, train_tokenizer
from storygen.tokenizers.figures import measure_tokenizer

TOKENIZER = "tokenizer.json"
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
        choices=CHUNKINGS,
    )
    piece_tokens: int | None = option(
        None, "story: cut training stories that have more tokens at sentence ends; the pieces keep the title.", low=64
    )
    stride: int = option(64, "sliding: tokens from the beginning of one window to that of the next.", low=1)
    seed: int = option(0, "Draws the form of each story's prompt.", low=0)

    def check(self) -> None:
        if self.piece_tokens is not None and self.chunking != "story":
            self.refuse("piece_tokens", "it goes with chunking story only")


def make_tokenizer(texts: list[str], config: PackConfig, reuse: Path | None, out: Path) -> Tokenizer:
    """The tokenizer of the folder, trained or taken from a file, and written there."""
    path = out / TOKENIZER
    if not path.exists():
        tokenizer = load_tokenizer(reuse) if reuse else train_tokenizer(config.tokenizer, texts, config.vocab_size)
        write_whole(path, tokenizer.to_json())
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


class Piece(NamedTuple):
    """What becomes one entry of a token shard, as text."""

    text: str
    prompt: str
    split: str
    ends: bool = True


class Entry(NamedTuple):
    """An entry of a token shard."""

    split: str
    tokens: np.ndarray
    text_bytes: int


class Packer:
    """Turns lines of clean stories into entries of token shards; what a process needs."""

    def __init__(self, tokenizer: Path, keywords: Keywords, split: Split, config: PackConfig) -> None:
        self._path, self._keywords, self._split, self._config = tokenizer, keywords, split, config

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._path)

    def __call__(self, batch: tuple[int, list[str]]) -> list[Entry]:
        """The entries that the lines give in one turn of `Task`."""
        turn, lines = batch
        stories = self._stories(lines, turn)
        pieces = [piece for story, split in stories for piece in self._pieces(story, split, turn)]
        texts = self._tokenizer.encode_batch([piece.text for piece in pieces])
        prompts = self._tokenizer.encode_batch([piece.prompt for piece in pieces])
        dtype = token_dtype(self._tokenizer.vocab_size)
        entries = []
        for piece, text, prompt in zip(pieces, texts, prompts, strict=True):
            tokens = np.array(self._tokenizer.framed(text, prompt), dtype=dtype)
            entries.append(Entry(piece.split, tokens if piece.ends else tokens[:-1], len(piece.text.encode())))
        return entries

    def _stories(self, lines: Iterable[str], turn: int) -> Iterator[tuple[Story, str]]:
        for clean in map(Clean.from_line, lines):
            split = clean.split if clean.split == "valid" else self._split.of(clean.story)
            # A story that is held out stays out, however often its file is read.
            if turn == 0 or (split == "train" and clean.times > turn):
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
        return random.Random(f"{self._config.seed} {turn} {number} {text_hash(story.text)}")


def pack_task(
    task: Task,
    pack: Callable[[Iterable[tuple[int, list[str]]]], Iterable[list[Entry]]],
    out: Path,
    vocab_size: int,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Writes the shards of a task, unless they are there, and returns their entry in the manifest."""
    record = out / f"{task.name}.json"
    if record.exists():
        progress(task.clean.stat().st_size)
        return read_json(record)
    writers = {split: ShardWriter(out, f"{split}-{task.name}", vocab_size) for split in SPLITS}
    fingerprint = hashlib.sha256()
    for entry in itertools.chain.from_iterable(pack(_batches(task, progress))):
        writers[entry.split].add(entry.tokens, entry.text_bytes)
        fingerprint.update(f"{entry.split} {len(entry.tokens)}".encode() + entry.tokens.tobytes())
    for writer in writers.values():
        writer.finish()
    packed = {
        "fingerprint": fingerprint.hexdigest(),
        "splits": {split: writer.summary() for split, writer in writers.items()},
    }
    write_json(record, packed)
    return packed


def _batches(task: Task, progress: Callable[[float], None]) -> Iterator[tuple[int, list[str]]]:
    with task.clean.open(encoding="utf-8") as lines:
        for batch in in_batches(lines, len, BATCH_CHARACTERS):
            yield task.turn, batch
            progress(sum(map(len, batch)))


def pack_all(
    shards: list[Path],
    out: Path,
    config: PackConfig,
    reuse: Path | None,
    workers: int,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Packs the shards of clean stories into the folder and returns what the manifest says of it.

    `workers` processes pack; 0 packs in this one. `progress` is told the clean shards' bytes that are done.
    """
    texts, split, turns = survey(shards, config.sample_mb * 1_000_000, config.valid_fraction)
    if not texts:
        raise StorygenError("no usable training story was left")
    tokenizer = make_tokenizer(texts, config, reuse, out)
    tasks = [Task(number, turn, clean) for turn in range(turns) for number, clean in enumerate(shards)]

    def part_done(size: float) -> None:
        progress(size / turns)

    with mapped(Packer(out / TOKENIZER, Keywords(texts), split, config), workers) as pack:
        packed = [pack_task(task, pack, out, tokenizer.vocab_size, part_done) for task in tasks]
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
