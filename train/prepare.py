"""Turns files of stories into packed token shards: `python -m train.prepare --source tales --out runs/tales`.

Two passes over the input, one story at a time: the first learns the tokenizer and the keywords from a sample of fixed
size, the second writes the shards. The result appears under its name only when it is whole.
"""

import argparse
import hashlib
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from storygen.cli import Parser, add_settings, run, settings_in
from storygen.config import Config, option
from storygen.data.clean import clean
from storygen.data.files import find_files, read_file
from storygen.data.pack import ShardWriter, write_manifest
from storygen.data.prompts import Keywords, draw_prompt
from storygen.data.sources import SOURCES
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError
from storygen.folders import output_folder, written_aside
from storygen.tokenizers import KINDS, Tokenizer, load_tokenizer, train_tokenizer, well_formed

FEW_SOURCES = 20
"""With fewer sources than this, one of them could be most of the text: single stories are split instead."""
BATCH = 256
"""Stories that are encoded together."""


@dataclass(frozen=True)
class PrepareConfig(Config):
    """How a corpus is packed."""

    tokenizer: str = option("bpe", "Kind of tokenizer to train.", choices=KINDS)
    vocab_size: int = option(4096, "Its number of tokens, the special ones included.", low=8, high=1_000_000)
    valid_fraction: float = option(0.05, "Share of the stories held out when no --valid is given.", low=0.0, high=0.9)
    sample_mb: int = option(20, "Millions of characters that tokenizer and keywords are learnt from.", low=1)
    seed: int = option(0, "Draws the form of each story's prompt.", low=0)


@dataclass(frozen=True)
class Input:
    """One file and how many times its stories are written, each time with another form of prompt."""

    path: Path
    times: int = 1


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


class Packer:
    """The second pass: encodes stories and appends them to the shards of their split."""

    def __init__(self, out: Path, tokenizer: Tokenizer, keywords: Keywords, seed: int) -> None:
        self.writers = {split: ShardWriter(out, split, tokenizer.vocab_size) for split in ("train", "valid")}
        self.fingerprint = hashlib.sha256()
        self._tokenizer, self._keywords, self._seed = tokenizer, keywords, seed

    def add(self, stories: Iterable[Story], split_of: Callable[[Story], str], turn: int = 0) -> None:
        """Packs the stories. Validation stories get no prompt; `turn` gives a repeated story another one."""
        stories = iter(stories)
        while batch := list(itertools.islice(stories, BATCH)):
            splits = [split_of(story) for story in batch]
            prompts = [
                self._prompt(story, turn) if split == "train" else ""
                for story, split in zip(batch, splits, strict=True)
            ]
            encoded = zip(
                self._tokenizer.encode_batch([story.text for story in batch]),
                self._tokenizer.encode_batch(prompts),
                strict=True,
            )
            for story, split, (text, prompt) in zip(batch, splits, encoded, strict=True):
                self.writers[split].add(self._tokenizer.framed(text, prompt), len(story.text.encode()))
                self.fingerprint.update(json.dumps([split, story.title, story.prompt, story.text]).encode())

    def finish(self) -> None:
        """Closes the shards."""
        for writer in self.writers.values():
            writer.finish()

    def _prompt(self, story: Story, turn: int) -> str:
        return draw_prompt(story, self._keywords, random.Random(f"{self._seed} {turn} {_hash(story.text)}"))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(well_formed(text).encode(), digest_size=8).digest(), "big")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _parser().parse_args(argv)
    config = PrepareConfig.from_dict(settings_in(arguments, PrepareConfig))
    train, valid = _inputs(arguments)
    if valid and hasattr(arguments, "valid_fraction"):
        raise StorygenError("there are validation files; leave out --valid-fraction, or --valid and --source")
    paths = [file.path for file in (*train, *valid)]
    out = output_folder(arguments.out, arguments.overwrite, ("manifest.json",), paths)
    with written_aside(out) as work:
        manifest = prepare(train, valid, work, config, arguments.reuse_tokenizer)
    _print_report(arguments.out, manifest)


def prepare(
    train: list[Input], valid: list[Input], out: Path, config: PrepareConfig, reuse_tokenizer: Path | None = None
) -> dict[str, Any]:
    """Writes tokenizer, shards and manifest into the folder `out`, and returns the manifest."""
    sample, keywords, sources = Sample(config.sample_mb * 1_000_000), Keywords(), set()
    first_source = 2**64
    reports: list[ReadReport] = []
    for story in _read(train, "learning", reports):
        sample.add(story.text)
        first_source = min(first_source, _hash(story.source))
        if len(sources) < FEW_SOURCES:
            sources.add(story.source)
    texts = sample.texts
    if not texts:
        why = [example for report in reports for example in report.examples[:1]]
        files = ", ".join(str(file.path) for file in train)
        raise StorygenError(f"no usable story in {files}" + "".join(f"; {reason}" for reason in why[:3]))
    for text in texts:
        keywords.learn(text)
    tokenizer = (
        load_tokenizer(reuse_tokenizer)
        if reuse_tokenizer
        else train_tokenizer(config.tokenizer, texts, config.vocab_size)
    )
    tokenizer.save(out / "tokenizer.json")

    by_source = len(sources) >= FEW_SOURCES
    held_out = 0 if valid else int(config.valid_fraction * 2**64)
    if held_out and by_source:
        held_out = max(held_out, first_source + 1)  # at least one source

    def split_of(story: Story) -> str:
        return "valid" if _hash(story.source if by_source else story.text) < held_out else "train"

    packer = Packer(out, tokenizer, keywords, config.seed)
    packer.add(_read(train, "packing"), split_of)
    for turn in range(1, max(file.times for file in train)):
        again = [file for file in train if file.times > turn]
        # A story that was held out stays out, however often its file is read.
        stories = (story for story in _read(again, f"turn {turn + 1}") if split_of(story) == "train")
        packer.add(stories, split_of, turn)
    packer.add(_read(valid, "validation", reports), lambda story: "valid")
    packer.finish()
    if not packer.writers["train"].shards:
        raise StorygenError("every story fell into the validation split; lower --valid-fraction or add text")
    manifest = {
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "fingerprint": tokenizer.fingerprint,
            "lossless": tokenizer.lossless,
        },
        "dtype": packer.writers["train"].dtype.name,
        "fingerprint": packer.fingerprint.hexdigest(),
        "split": "by file" if valid else "by source" if by_source else "by story",
        "splits": {split: writer.summary() for split, writer in packer.writers.items()},
        "files": [asdict(report) for report in reports],
        "inputs": [{"file": file.path.name, "times": file.times} for file in train],
    }
    write_manifest(out, manifest)
    return manifest


def _read(files: list[Input], doing: str, reports: list[ReadReport] | None = None) -> Iterator[Story]:
    """The cleaned, non-empty stories of some files, with a progress bar; reports are appended where wanted."""
    total = sum(file.path.stat().st_size for file in files)
    with tqdm(total=total, desc=f"{doing:>12}", unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            report = ReadReport(file.path.name)
            for story in read_file(file.path, report):
                text = clean(story.text)
                if text:
                    yield Story(text, clean(story.title), clean(story.prompt), story.source)
                else:
                    report.empty += 1
            bar.update(file.path.stat().st_size)
            if reports is not None:
                reports.append(report)


def _inputs(arguments: argparse.Namespace) -> tuple[list[Input], list[Input]]:
    """The training and validation files that the command line names."""
    train: list[Input] = []
    valid = [Input(path) for path in find_files(arguments.valid)]
    for name in arguments.source:
        train_paths, valid_paths = SOURCES[name]()
        train += map(Input, train_paths)
        valid += map(Input, valid_paths)
    for text in arguments.input:
        path, mark, times = text.rpartition("@")
        if not mark or not times.isdecimal() or Path(text).exists():
            path, times = text, "1"
        if int(times) < 1:
            raise StorygenError(f"--input {text}: the number after @ must be 1 or more")
        train += [Input(file, int(times)) for file in find_files([path])]
    held_out = {file.path.resolve() for file in valid}
    kept = [file for file in train if file.path.resolve() not in held_out]
    if len(kept) < len(train):
        print(f"note: {len(train) - len(kept)} files that --input and --valid both name are for validation only")
    if not kept:
        raise StorygenError("nothing to prepare; give --input FILES or --source tales")
    return kept, valid


def _print_report(out: Path, manifest: dict[str, Any]) -> None:
    for report in manifest["files"]:
        if report["skipped"] or report["repaired"] or report["empty"]:
            counts = ", ".join(f"{report[key]:,} {key}" for key in ("skipped", "repaired", "empty") if report[key])
            print(f"{report['file']}: {report['stories']:,} stories read, {counts}")
            print("".join(f"  {example}\n" for example in report["examples"]), end="")
    for split, summary in manifest["splits"].items():
        size = summary["bytes"] / 1e6
        print(f"{split}: {summary['stories']:,} stories, {size:,.2f} MB of text, {summary['tokens']:,} tokens")
    tokenizer = manifest["tokenizer"]
    print(f"{tokenizer['kind']} tokenizer of {tokenizer['vocab_size']:,}; split {manifest['split']}; written to {out}")
    if not manifest["splits"]["valid"]["stories"]:
        print("note: no validation stories; give --valid FILES or a larger --valid-fraction")


def _parser() -> Parser:
    parser = Parser(prog="python -m train.prepare", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--source", nargs="+", default=[], choices=list(SOURCES), help="corpora known by name")
    parser.add_argument(
        "--input", nargs="+", default=[], metavar="FILE", help="story files or folders; FILE@3 is read three times"
    )
    parser.add_argument("--valid", nargs="+", default=[], metavar="FILE", help="validation files or folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--reuse-tokenizer", type=Path, metavar="FILE", help="a tokenizer.json instead of training one")
    add_settings(parser, PrepareConfig)
    return parser


if __name__ == "__main__":
    run(main)
