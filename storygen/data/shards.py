"""Token shards: how stories lie on disk, written once and read through memory maps.

manifest.json              what is inside, with sizes to check against
tokenizer.json             what the tokens mean
train-00-00000-00000.bin   tokens back to back, uint16 (uint32 for large vocabularies), an end token after each story
train-00-00000-00000.idx   int64 pairs (first token, UTF-8 bytes of the text), one a story
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storygen.config import read_json, write_json
from storygen.errors import StorygenError

VERSION = 1
CHUNKINGS = ("story", "packed", "sliding")
"""How training windows can lie (storygen/data/batches.py)."""
STORIES = {"kind": "story"}
"""How they lie if the manifest does not say."""


@dataclass(frozen=True)
class Shard:
    """One pair of files, and what must be in them. The name may lie in a folder of the corpus."""

    file: str
    stories: int
    tokens: int
    bytes: int


class ShardWriter:
    """Writes the shards of one split, a new one whenever `shard_tokens` are full."""

    def __init__(self, directory: Path, split: str, vocab_size: int, shard_tokens: int = 100_000_000) -> None:
        self.dtype = token_dtype(vocab_size)
        self.shards: list[Shard] = []
        self._directory, self._split, self._limit = directory, split, shard_tokens
        self._files: tuple[Any, Any] | None = None
        self._stories = self._tokens = self._bytes = 0

    @property
    def _name(self) -> str:
        return f"{self._split}-{len(self.shards):05d}"

    def add(self, tokens: list[int], text_bytes: int) -> None:
        """Appends one story."""
        if self._files is None:
            tokens_file, index_file = (self._directory / f"{self._name}.{suffix}" for suffix in ("bin", "idx"))
            self._files = (tokens_file.open("wb"), index_file.open("wb"))
        self._files[0].write(np.asarray(tokens, dtype=self.dtype).tobytes())
        self._files[1].write(np.asarray([self._tokens, text_bytes], dtype=np.int64).tobytes())
        self._stories += 1
        self._tokens += len(tokens)
        self._bytes += text_bytes
        if self._tokens >= self._limit:
            self.finish()

    def finish(self) -> None:
        """Closes the shard that is being written."""
        if self._files is None:
            return
        for file in self._files:
            file.close()
        self.shards.append(Shard(self._name, self._stories, self._tokens, self._bytes))
        self._files, self._stories, self._tokens, self._bytes = None, 0, 0, 0

    def summary(self) -> dict[str, Any]:
        """The split's entry in the manifest."""
        shards = [asdict(shard) for shard in self.shards]
        return join_summaries({**shard, "shards": [shard]} for shard in shards)


def join_summaries(summaries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One entry of a manifest for the shards of several."""
    summaries = list(summaries)
    totals = {key: sum(each[key] for each in summaries) for key in ("stories", "tokens", "bytes")}
    return {**totals, "shards": [shard for each in summaries for shard in each["shards"]]}


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every token id."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)


class PackedStories:
    """The stories of one split, read through memory maps: the corpus itself is never loaded whole."""

    def __init__(self, directory: str | Path, split: str) -> None:
        directory = Path(directory)
        self._opened = (directory, split)
        self.manifest = read_manifest(directory)
        try:
            shards = [Shard(**shard) for shard in self.manifest["splits"][split]["shards"]]
            if any(type(size) is not int for s in shards for size in (s.stories, s.tokens, s.bytes)):
                raise TypeError("sizes must be whole numbers")
        except (KeyError, TypeError) as error:
            raise StorygenError(f"{directory / 'manifest.json'} is damaged: {error}; run train.prepare again") from None
        self.chunking: dict[str, Any] = self.manifest.get("chunking", STORIES)
        """How windows lie in it; see `batches`."""
        self.vocab_size: int = self.manifest["tokenizer"]["vocab_size"]
        self.fingerprint: str = self.manifest["tokenizer"]["fingerprint"]
        if not shards:
            raise StorygenError(f"{directory} has no stories in its {split!r} split; run train.prepare with some")
        dtype = token_dtype(self.vocab_size)
        self._tokens = [_map(directory / f"{s.file}.bin", dtype, s.tokens) for s in shards]
        indexes = [_map(directory / f"{s.file}.idx", np.dtype(np.int64), 2 * s.stories) for s in shards]
        self.shard = np.concatenate([np.full(s.stories, i, dtype=np.int32) for i, s in enumerate(shards)])
        self.shard_tokens = np.array([s.tokens for s in shards])
        self.start = np.concatenate([index[0::2] for index in indexes])
        self.text_bytes = np.concatenate([index[1::2] for index in indexes])
        ends = [np.append(index[2::2], s.tokens) for index, s in zip(indexes, shards, strict=True)]
        self.length = np.concatenate(ends) - self.start
        if (self.length < 2).any() or (self.start < 0).any():
            raise StorygenError(f"the story index of {directory} is damaged; run train.prepare again")

    def __len__(self) -> int:
        return len(self.start)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the files anew; to copy the maps would be to send the corpus."""
        return PackedStories, self._opened

    def tokens(self, story: int) -> np.ndarray:
        """The tokens of a story as int64."""
        return self.read(int(self.shard[story]), int(self.start[story]), int(self.length[story]))

    def read(self, shard: int, start: int, count: int) -> np.ndarray:
        """So many tokens of a shard as int64."""
        tokens = self._tokens[shard][start : start + count].astype(np.int64)
        if tokens.max(initial=0) >= self.vocab_size:
            raise StorygenError(
                f"shard {shard} has token {tokens.max()} of {self.vocab_size}: it is damaged; run train.prepare again"
            )
        return tokens

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.tokens(story) for story in range(len(self)))


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a packed corpus; StorygenError if the folder is not one or is of another version."""
    if not (directory / "manifest.json").exists():
        raise StorygenError(f"{directory} is not a packed corpus (no manifest.json); make one with train.prepare")
    manifest = read_json(directory / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        raise StorygenError(f"{directory / 'manifest.json'} is not of version {VERSION}; run train.prepare again")
    try:
        tokenizer, splits = manifest["tokenizer"], manifest["splits"]
        texts = [manifest["fingerprint"], tokenizer["kind"], tokenizer["fingerprint"]]
        sizes = [tokenizer["vocab_size"]]
        sizes += [splits[name][size] for name in ("train", "valid") for size in ("stories", "tokens", "bytes")]
        if any(type(text) is not str for text in texts) or any(type(size) is not int for size in sizes):
            raise TypeError("names must be text and sizes whole numbers")
        chunking = manifest.get("chunking", STORIES)
        if chunking["kind"] not in CHUNKINGS:
            raise ValueError(f"chunking must be one of {', '.join(CHUNKINGS)}, not {chunking['kind']!r}")
        if chunking["kind"] == "sliding" and (type(chunking["stride"]) is not int or chunking["stride"] < 1):
            raise ValueError(f"stride must be a whole number above 0, not {chunking['stride']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise StorygenError(f"{directory / 'manifest.json'} is damaged: {error}; run train.prepare again") from None
    return manifest


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest, last of all: a folder without one is unfinished."""
    write_json(directory / "manifest.json", {"version": VERSION, **manifest})


def _map(path: Path, dtype: np.dtype, count: int) -> np.ndarray:
    if not path.exists():
        raise StorygenError(f"shard {path} is missing; run train.prepare again")
    size, expected = path.stat().st_size, count * dtype.itemsize
    if size != expected:
        raise StorygenError(f"shard {path} has {size} bytes instead of {expected}; run train.prepare again")
    return np.memmap(path, dtype=dtype, mode="r")
