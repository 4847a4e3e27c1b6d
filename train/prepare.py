"""Turns stories into packed token shards: `python -m train.prepare --source tales --out runs/tales`.

The work is done in two stages, cleaning and packing, in a folder beside --out that takes its place when it is whole. An
interrupted run goes on where it was when the same command is given again. report.md, next to the shards, tells what
happened to the stories.

`python -m train.prepare compare-tokenizers` shows kinds and sizes side by side, `python -m train.prepare merge` makes
one corpus of parts that --only-shard has made.
"""

import argparse
import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from storygen.cli import Parser, add_settings, run, settings_in
from storygen.data.clean_corpus import STATE, CleaningConfig, Counts, DedupeConfig, Input, State, clean_all
from storygen.data.clean_text import CleanConfig
from storygen.data.filters import FilterConfig
from storygen.data.merge import merge_parts, part_folder
from storygen.data.pack_corpus import PackConfig, pack_all
from storygen.data.report import FILE as REPORT
from storygen.data.report import MEANING, write_report
from storygen.data.shards import write_manifest
from storygen.data.sources import KINDS, divide
from storygen.errors import StorygenError
from storygen.folders import LOCK, UNFINISHED, locked, output_folder
from storygen.tokenizers import check_vocab_size, load_tokenizer
from train import compare_tokenizers

CLEANING, PACKING = "cleaning-settings.json", "packing-settings.json"
PACKED = "packed"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHOWN = 10
"""Files of which the summary tells what could not be read; the report tells it of all."""
WORTH_PROCESSES = 10_000_000
"""Bytes of input from which starting processes is worth it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        COMMANDS[argv[0]](argv[1:])
        return
    arguments = _parser().parse_args(argv)
    config = PackConfig.from_dict(settings_in(arguments, PackConfig))
    cleaning = CleaningConfig(
        CleanConfig.from_dict(settings_in(arguments, CleanConfig)),
        FilterConfig.from_dict(settings_in(arguments, FilterConfig)),
        DedupeConfig.from_dict(settings_in(arguments, DedupeConfig)),
    )
    inputs = _inputs(arguments)
    if arguments.only_shard:
        inputs, arguments.out = _part(arguments, inputs)
        if any(each.split == "known" for each in inputs):
            config = config.replace(valid_fraction=0.0)  # the first part packs the validation files
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    out = output_folder(arguments.out, arguments.overwrite, ("manifest.json",), [i.path for i in inputs if i.path])
    _check_tokenizer(config, arguments.reuse_tokenizer)
    work = out.with_name(out.name + UNFINISHED)
    with locked(work), _told_when_full(work):
        _begin(work, _identity(inputs, cleaning), {"pack": config.to_dict(), "reuse": _hash(arguments.reuse_tokenizer)})
        manifest = _prepare(inputs, work, config, cleaning, arguments.reuse_tokenizer, _workers(arguments, inputs))
        if out.exists():
            shutil.rmtree(out)
        (work / PACKED).rename(out)
        done = work.with_name(work.name + "-done")  # so that one killed while deleting leaves nothing to go on with
        work.rename(done)
        shutil.rmtree(done)
    _print_summary(arguments.out, manifest)


@contextlib.contextmanager
def _told_when_full(work: Path) -> Iterator[None]:
    """Turns what a full disk does to the block into a StorygenError: a file that is open doesn't tell its name."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorygenError(f"the database in {work} cannot be used: {error}; what is finished is kept") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorygenError(f"{work} cannot be written: {error.strerror}; what is finished is kept") from None


def _prepare(
    inputs: list[Input], work: Path, config: PackConfig, cleaning: CleaningConfig, reuse: Path | None, workers: int
) -> dict[str, Any]:
    """Both stages, into the folder `packed` in the working folder; the manifest."""
    with tqdm(desc="cleaning", unit="B", unit_scale=True, disable=None) as bar:
        state = clean_all(inputs, work, cleaning, workers, bar.update)
    if not any(state.counts.words.values()):
        (work / STATE).unlink()  # another try begins anew
        raise StorygenError(_nothing(state))
    packed = work / PACKED
    packed.mkdir(exist_ok=True)
    shards = [work / name for name in state.shards]
    total = sum(path.stat().st_size for path in shards)
    with tqdm(desc=" packing", total=total, unit="B", unit_scale=True, disable=None) as bar:
        figures = pack_all(shards, packed, config, reuse, workers, bar.update)
    manifest = {
        **figures,
        "files": state.reports,
        "inputs": [{"file": each.name, "times": each.times} for each in inputs if each.split == "train"],
        "cleaning": {**dataclasses.asdict(cleaning), **_counts(state.counts)},
    }
    write_report(packed, manifest, state.counts)
    write_manifest(packed, manifest)
    return manifest


def _counts(counts: Counts) -> dict[str, Any]:
    return {"read": counts.read, "kept": counts.kept, "changed": dict(counts.changed), "dropped": dict(counts.dropped)}


def _nothing(state: State) -> str:
    """Why there is no story, in one line."""
    reasons = [example for report in state.reports for example in report["examples"][:1]][:3]
    reasons += [f"{count:,} dropped as {rule} ({MEANING[rule]})" for rule, count in state.counts.dropped.most_common(3)]
    return "no usable story in " + ", ".join(dict.fromkeys(r["file"] for r in state.reports)) + "".join(
        f"; {reason}" for reason in reasons
    )  # fmt: skip


def _begin(work: Path, cleaning: dict[str, Any], packing: dict[str, Any]) -> None:
    """Keeps of the unfinished work what was made with the same settings and inputs, and removes the rest."""
    asked = [json.dumps(each, indent=2, sort_keys=True, default=str) for each in (cleaning, packing)]
    paths = [work / CLEANING, work / PACKING]
    same = [path.exists() and path.read_text(encoding="utf-8") == text for path, text in zip(paths, asked, strict=True)]
    if {entry.name for entry in work.iterdir()} - {LOCK} and not paths[0].exists():
        raise StorygenError(f"{work} is in the way and holds no unfinished work; move it")
    if same[0]:
        print(f"note: going on with the unfinished work in {work}", file=sys.stderr)
    if not all(same):
        shutil.rmtree(work / PACKED, ignore_errors=True)
    if not same[0]:
        (work / STATE).unlink(missing_ok=True)  # first of all: what it tells of goes now
        for path in work.iterdir():
            if path.name not in (LOCK, CLEANING):
                path.unlink()
    for path, text in zip(paths, asked, strict=True):
        path.write_text(text, encoding="utf-8")


def _identity(inputs: list[Input], cleaning: CleaningConfig) -> dict[str, Any]:
    """All that decides which clean stories come out."""
    files = [(each.path.resolve(), *_stamp(each.path)) if each.path else None for each in inputs]
    return {
        "cleaning": dataclasses.asdict(cleaning),
        "banned_words": _hash(Path(cleaning.filter.banned_words)) if cleaning.filter.banned_words else None,
        "inputs": [
            (each.name, each.times, each.split, each.settings, file) for each, file in zip(inputs, files, strict=True)
        ],
    }


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_mode


def _hash(path: Path | None) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.exists() else None


def _check_tokenizer(config: PackConfig, reuse: Path | None) -> None:
    """Refuses now what would be refused after hours of cleaning."""
    if reuse:
        load_tokenizer(reuse)
    else:
        check_vocab_size(config.tokenizer, config.vocab_size)


def _inputs(arguments: argparse.Namespace) -> list[Input]:
    """Validation first, so that training stories can be compared with it."""
    valid, train, left_out = divide([*arguments.source, *arguments.input], arguments.valid)
    if left_out:
        print(f"note: {left_out} files that are named for training and validation are for validation only")
    if not train:
        raise StorygenError("nothing to prepare; give --input FILES or --source tales")
    if valid and hasattr(arguments, "valid_fraction"):
        raise StorygenError("there are validation files; leave out --valid-fraction, or --valid and --source")
    return valid + train


def _part(arguments: argparse.Namespace, inputs: list[Input]) -> tuple[list[Input], Path]:
    """One part of the inputs, and its folder. Validation stories are packed in the first and known in all."""
    number, slash, of = arguments.only_shard.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal() or int(number) >= int(of):
        raise StorygenError(f"--only-shard {arguments.only_shard}: write it as 0/4 to 3/4")
    if not arguments.reuse_tokenizer:
        raise StorygenError("--only-shard needs --reuse-tokenizer FILE, as all parts must have the same tokenizer")
    if not any(each.split == "valid" for each in inputs) and getattr(arguments, "valid_fraction", None) != 0:
        raise StorygenError(
            "--only-shard needs --valid FILES, or --valid-fraction 0: parts can't agree on a split alone"
        )
    number, of = int(number), int(of)
    valid = [
        dataclasses.replace(each, split="known" if number else "valid") for each in inputs if each.split == "valid"
    ]
    asked = [each for each in inputs if each.split == "train"]
    train = [each.part(number, of) for each in asked if each.part]
    train += [each for each in asked if not each.part][number::of]
    if not train:
        raise StorygenError(
            f"part {number} of {of} has nothing to do; divide into fewer parts, or the input into more files"
        )
    return valid + train, part_folder(arguments.out, number, of)


def merge(argv: Sequence[str]) -> None:
    """Runs `python -m train.prepare merge FOLDER`."""
    parser = Parser(prog="python -m train.prepare merge", description="Makes one corpus of the parts in a folder.")
    parser.add_argument("out", type=Path, help="the --out of the parts")
    out = parser.parse_args(argv).out
    if not out.is_dir():
        raise StorygenError(f"{out} is not a folder")
    _print_summary(out, merge_parts(out))


COMMANDS = {"merge": merge, "compare-tokenizers": compare_tokenizers.main}


def _workers(arguments: argparse.Namespace, inputs: list[Input]) -> int:
    """The number of processes: as asked, or all cores where there is enough to do."""
    if arguments.workers is not None:
        if arguments.workers < 0:
            raise StorygenError(f"--workers is {arguments.workers}; it must be 0 or more")
        return arguments.workers
    is_small = all(each.path for each in inputs) and sum(each.path.stat().st_size for each in inputs) < WORTH_PROCESSES
    return 0 if is_small else os.cpu_count() or 1


def _print_summary(out: Path, manifest: dict[str, Any]) -> None:
    troubled = [report for report in manifest["files"] if report["skipped"] or report["repaired"]]
    for report in troubled[:SHOWN]:
        counts = ", ".join(f"{report[key]:,} {key}" for key in ("skipped", "repaired") if report[key])
        print(f"{report['file']}: {report['stories']:,} stories read, {counts}\n  {report['examples'][0]}")
    if len(troubled) > SHOWN:
        print(f"... and {len(troubled) - SHOWN} more files with something skipped or repaired; see {REPORT}")
    counts = manifest.get("cleaning", {"dropped": {}})
    if counts["dropped"]:
        print(
            "dropped: "
            + ", ".join(f"{count:,} {rule}" for rule, count in counts["dropped"].items())
            + f"; see {REPORT}"
        )
    for split, summary in manifest["splits"].items():
        size = summary["bytes"] / 1e6
        print(f"{split}: {summary['stories']:,} stories, {size:,.2f} MB of text, {summary['tokens']:,} tokens")
    tokenizer = manifest["tokenizer"]
    print(f"{tokenizer['kind']} tokenizer of {tokenizer['vocab_size']:,}; split {manifest['split']}; written to {out}")
    if not manifest["splits"]["valid"]["stories"]:
        print("note: no validation stories; give --valid FILES or a larger --valid-fraction")


def _parser() -> Parser:
    parser = Parser(prog="python -m train.prepare", description=__doc__.split(":")[0] + ".")
    parser.add_argument(
        "--source",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help=f"corpora, by KIND:WHAT?SETTINGS@TIMES; kinds: {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--input", nargs="+", default=[], metavar="FILE", help="story files or folders; FILE@3 is packed three times"
    )
    parser.add_argument("--valid", nargs="+", default=[], metavar="FILE", help="validation files, folders or sources")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--reuse-tokenizer", type=Path, metavar="FILE", help="a tokenizer.json instead of training one")
    parser.add_argument(
        "--only-shard",
        metavar="I/N",
        help="prepare part I, from 0, of N: every N-th input file, and that part of a Hub dataset; then `merge` them",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one for each core; 0: all in one)")
    for config in (PackConfig, CleanConfig, FilterConfig, DedupeConfig):
        add_settings(parser, config)
    return parser


if __name__ == "__main__":
    run(main)
