"""What each way of decoding makes of a model: `python -m train.evaluate strategies --model checkpoints/transformer`.

Held-out stories are cut after their first words, the model goes on in every way of decoding, and its continuations
are measured beside those of the stories' authors: likelihood, repetition, diversity, overlap with people, and what is
copied from the training text. OUT gets NAME.json, NAME.md and two pictures for each model. What was written is kept in
the cache folder, so an interrupted run goes on where it was.
"""

import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from storygen.arena.contestants import describe_decoding
from storygen.cli import Parser, run
from storygen.config import GenerationConfig, read_json, unknown_name, write_json
from storygen.data.files import read_files
from storygen.data.story import Story
from storygen.errors import StorygenError
from storygen.evaluation.continuations import (
    OPENING_WORDS,
    Continuation,
    HeldOut,
    by_model,
    by_people,
    digest,
    fingerprint,
    hold_out,
)
from storygen.evaluation.memorisation import Index, build_index, find_copies
from storygen.evaluation.overlap import bleu
from storygen.evaluation.stories import OTHERS, true_prompt_wins
from storygen.evaluation.strategies import GRID
from storygen.evaluation.strategy_report import fill, report, row, save
from storygen.folders import write_whole
from storygen.writer import Writer, load
from train.story_files import asked_in, stories_in, text_files, training_files

SHIPPED = 30_000_000
"""Bytes of an index that is light enough to go with a checkpoint."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.evaluate strategies", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--model", nargs="+", required=True, help="model folders or Hub repositories")
    parser.add_argument("--text", nargs="+", default=[], help="held-out story files; default: the built-in tales.valid")
    parser.add_argument("--train", nargs="+", default=[], help="the training text; default: the built-in tales")
    parser.add_argument("--strategy", nargs="+", default=[], help="only these; default: all but best_of_n")
    parser.add_argument("--stories", type=int, default=50, help="how many to go on with (default: 50)")
    parser.add_argument("--opening", type=int, default=OPENING_WORDS, metavar="WORDS", help="default: 30")
    parser.add_argument("--tokens", type=int, default=200, help="most that the model writes of each (default: 200)")
    parser.add_argument("--out", type=Path, default=Path("runs/strategies"), help="default: runs/strategies")
    parser.add_argument(
        "--fill", type=Path, metavar="FILE", help="Markdown file to put the tables into, and pictures into its images/"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/evaluation"), help="default: runs/evaluation")
    arguments = parser.parse_args(argv)
    known = list(dict.fromkeys(config.strategy for config in GRID))
    for name in arguments.strategy:
        if name not in known:
            raise unknown_name("strategy", name, known)
    asked = arguments.strategy or known
    grid = [each.replace(max_new_tokens=arguments.tokens) for each in GRID if each.strategy in asked]
    held_out = [story for file in text_files(arguments.text) for story in stories_in(file)]
    stories = hold_out([story.text for story in held_out], arguments.stories, arguments.opening)
    if arguments.fill and not arguments.fill.is_file():
        raise StorygenError(f"--fill {arguments.fill} is not a file; give a Markdown file with marks for the tables")
    training = training_files(arguments.train)
    index = cached_index(training, arguments.cache)
    arguments.out.mkdir(parents=True, exist_ok=True)
    writers = [load(model) for model in arguments.model]
    for name, count in Counter(writer.name for writer in writers).items():
        if count > 1:
            raise StorygenError(f"{count} models are called {name}; measure them one by one, each with its own --out")
    for writer in writers:
        record = {
            "model": writer.name,
            "revision": writer.revision,
            "stories": len(stories),
            "opening_words": arguments.opening,
            "max_new_tokens": arguments.tokens,
            "training": about(index),
            "true_prompt_wins": rank_prompts(writer, held_out, arguments.cache),
            **measure_strategies(writer, stories, grid, index, training, arguments.cache),
        }
        pictures = save(record, arguments.out)
        print("\n".join(report(record)))
        if arguments.fill:
            write_whole(arguments.fill, fill(arguments.fill.read_text(encoding="utf-8"), record))
            images = arguments.fill.parent / "images"
            images.mkdir(exist_ok=True)
            for picture in pictures:
                shutil.copyfile(picture, images / f"strategies-{picture.name}")
    print(f"written to {arguments.out}")


def measure_strategies(
    writer: Writer,
    stories: Sequence[HeldOut],
    grid: Sequence[GenerationConfig],
    index: Index,
    training: Sequence[Path],
    cache: Path,
) -> dict[str, Any]:
    """The part of a model's record that is about its ways of decoding: people's row first, then the grid's."""
    people = by_people(writer, stories, grid[0].max_new_tokens)
    written = [people, *write(writer, stories, grid, cache)]
    texts = [each.whole for continuations in written for each in continuations]
    found = find_copies(texts, read_training(training, "searching"))
    copies = [found[first : first + len(stories)] for first in range(0, len(found), len(stories))]
    _, signature = bleu(texts[: len(stories)], [texts[: len(stories)]])
    cells = zip([None, *grid], written, copies, strict=True)
    return {"bleu_signature": signature, "rows": [row(config, each, people, index, own) for config, each, own in cells]}


def make_index(argv: Sequence[str] | None = None) -> None:
    """Makes an index of training text, for pages and reports that tell what a story copies of it."""
    parser = Parser(prog="python -m train.evaluate index", description=make_index.__doc__)
    parser.add_argument("--train", nargs="+", default=[], help="the training text; default: the built-in tales")
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write, CHECKPOINT/memorisation.safetensors say"
    )
    arguments = parser.parse_args(argv)
    files = training_files(arguments.train)
    made = build_index(story.text for story in read_training(files, "indexing"))
    made.save(arguments.out)
    print(
        f"{arguments.out}: {made.bytes / 1e6:.1f} MB, {made.runs:,} runs and {len(made.words):,} words; "
        f"{made.false_positives:.3%} of unseen runs are taken for seen ones"
    )
    if made.bytes > SHIPPED:
        print(f"note: over {SHIPPED / 1e6:.0f} MB it is no light load for who fetches the checkpoint")


def about(index: Index) -> dict[str, Any]:
    """What is told of an index."""
    names = ("stories", "characters", "runs", "bytes", "false_positives")
    return {name: getattr(index, name) for name in names}


def read_training(files: Sequence[Path], doing: str) -> Iterator[Story]:
    """The stories of the training text one by one, with a progress bar."""
    yield from tqdm(read_files(files), f"{doing} the training text", unit="story", disable=None, leave=False)


def cached_index(files: Sequence[Path], cache: Path) -> Index:
    """The index of the training text in some files, made once for the same content."""
    hashes = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    path = cache / f"training-{digest(*hashes)}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        build_index(story.text for story in read_training(files, "indexing")).save(path)
    return Index.load(path)


def write(
    writer: Writer, stories: Sequence[HeldOut], grid: Sequence[GenerationConfig], cache: Path
) -> list[list[Continuation]]:
    """How the model goes on with the stories, for each way of decoding."""
    with tqdm(total=len(grid) * len(stories), desc=writer.name, unit="story", disable=None) as bar:
        written: list[list[Continuation]] = []
        for config in grid:
            bar.set_postfix_str(describe_decoding(config))
            written.append([])
            for each in by_model(writer, stories, config, cache):
                written[-1].append(each)
                bar.update()
    return written


def rank_prompts(writer: Writer, stories: Sequence[Story], cache: Path) -> float | None:
    """How often a text is likeliest after its own prompt or title, among ten; None if there are too few prompts.

    Kept in the cache folder too.
    """
    asked = list(asked_in(stories))
    path = cache / f"ranking-{digest(fingerprint(writer), *itertools.chain(*asked))}.json"
    if not path.exists():
        found = share_found(writer, asked)
        if found is None:
            return None
        write_json(path, {"true_prompt_wins": found})
    return read_json(path)["true_prompt_wins"]


def share_found(writer: Writer, asked: Sequence[tuple[str, str]]) -> float | None:
    """How often a text is likeliest after its own prompt, among ten; None if there are too few (prompt, text) pairs."""
    if len({prompt for prompt, _ in asked}) <= OTHERS:
        return None
    wins = true_prompt_wins(writer.model, writer.tokenizer, asked)
    wins = list(tqdm(wins, f"{writer.name} ranks prompts", len(asked), unit="story", disable=None, leave=False))
    return sum(wins) / len(wins)


if __name__ == "__main__":
    run(main)
