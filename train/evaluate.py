"""Measures models on texts: `python -m train.evaluate --model checkpoints/transformer --text tales.valid.jsonl.gz`.

Prints Markdown tables: bits per byte of each text with intervals, with `--compare` whether the differences between
models are real, and with `--stories 100` what readers notice of stories that are written for that many held-out
prompts. `--out` keeps all of it as JSON, Markdown and plots, `--write` puts each model's figures into its training.json
and onto its card, and `--fill` puts the tables where README.md and others have marks for them. docs/evaluation.md says
what the figures mean. `python -m train.evaluate strategies` compares ways of decoding, and `python -m train.evaluate
index` makes an index of training text, by which copies of it are found.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from storygen.arena.ledger import read_ledger
from storygen.cli import Parser, add_settings, run, settings_in
from storygen.config import write_json
from storygen.errors import StorygenError
from storygen.evaluation.baselines import COMPRESSORS, measure_baselines
from storygen.evaluation.likelihood import Likelihood, LikelihoodConfig, text_likelihood
from storygen.evaluation.people import people_section
from storygen.evaluation.plots import draw_likelihood
from storygen.evaluation.record import (
    FILE,
    REPORT,
    baselines_section,
    comparison_section,
    likelihood_section,
    merged,
    model_entry,
    read_record,
    write_entry,
)
from storygen.evaluation.stories import judge, write_for
from storygen.evaluation.tables import fill, report
from storygen.folders import write_whole
from storygen.writer import Writer, load
from train import strategies
from train.story_files import Texts, named, read_prompts, read_texts, text_files, training_files

STORIES_METHOD = (
    "Stories for the prompts of held-out stories, top-p 0.9 at temperature 0.8, seeds from 0, at most 400 tokens "
    "(`python -m train.evaluate --stories`)."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        COMMANDS[argv[0]](argv[1:])
        return
    arguments = _parser().parse_args(argv)
    if arguments.stories < 0:
        raise StorygenError(f"--stories is {arguments.stories}; it must be 0 or more")
    models = list(dict.fromkeys([*arguments.model, *(arguments.compare or [])]))
    if not models and not arguments.record:
        raise StorygenError("give models to measure with --model, or an earlier record with --record")
    for page in arguments.fill:
        if not page.is_file():  # said before hours of measuring
            raise StorygenError(f"--fill {page} does not exist; give a Markdown file with marks for tables")
    record = read_record(arguments.record) if arguments.record else {"models": {}}
    if models:
        record = merged(record, measure_all(models, arguments))
    if arguments.votes:
        record["people"] = people_section(read_ledger(arguments.votes), record)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out / FILE, record)
        write_whole(arguments.out / REPORT, "\n".join(report(record)) + "\n")
        draw_likelihood(record, arguments.out)
    if arguments.write is not None:
        for folder in arguments.write or models:
            write_entry(Path(folder), record)
    for page in arguments.fill:
        write_whole(page, fill(page.read_text(encoding="utf-8"), record))
    print("\n".join(report(record)))  # last, as whoever reads it may stop, as `head` does


COMMANDS = {"strategies": strategies.main, "index": strategies.make_index}


def _parser() -> Parser:
    parser = Parser(prog="python -m train.evaluate", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--model", nargs="+", default=[], help="model folders or Hub repositories")
    parser.add_argument("--text", nargs="+", default=[], help="story files; default: the built-in tales.valid")
    parser.add_argument(
        "--compare", nargs="*", metavar="MODEL", help="more models; tells of each two whether the difference is real"
    )
    parser.add_argument(
        "--train",
        nargs="*",
        metavar="FILE",
        help="also measure compressors and n-grams that know these story files; default: the built-in tales.train",
    )
    parser.add_argument(
        "--stories", type=int, default=0, metavar="N", help="also write and judge stories for the first N prompts"
    )
    parser.add_argument(
        "--prompts", nargs="+", default=[], help="story files with prompts or titles for them; default: tales.valid"
    )
    parser.add_argument(
        "--votes",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="the arena's votes: how far do figures agree with people?",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {FILE}, {REPORT} and plots")
    parser.add_argument(
        "--write",
        nargs="*",
        metavar="FOLDER",
        help="put the figures into training.json and card of these models; default: those measured",
    )
    parser.add_argument(
        "--fill", nargs="+", type=Path, default=[], metavar="FILE", help="Markdown files whose marked tables to fill in"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help=f"an earlier {FILE}: what is not measured now is taken from there"
    )
    add_settings(parser, LikelihoodConfig)
    return parser


def measure_all(models: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of all that the command line asks for."""
    config = LikelihoodConfig(**settings_in(arguments, LikelihoodConfig))
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    writers = names_of_models([load(model) for model in models], models)
    for name, writer in writers.items():
        config.check_fits(writer.model, name)
    asked = read_prompts(text_files(arguments.prompts), arguments.stories) if arguments.stories else []
    if len(asked) < arguments.stories:
        raise StorygenError(f"--stories is {arguments.stories}, but the files have {len(asked)} with a prompt or title")
    record: dict[str, Any] = {"models": {}}
    measured = {}
    for name, writer in writers.items():
        record["models"][name], measured[name] = measure_model(writer, texts, config, asked)
    if arguments.compare is not None:
        record["comparison"] = comparison_section(measured)
    if arguments.train is not None:
        files = training_files(arguments.train)
        record["baselines"] = compare_with_counting(files, texts, writers)
    return record


def measure_model(
    writer: Writer, texts: Mapping[str, Texts], config: LikelihoodConfig, asked: Sequence[tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, Likelihood]]:
    """The entry of a model in a record, and its likelihood of each text, story by story."""
    entry = model_entry(writer.revision, writer.tokenizer)
    measured = {name: measure(writer, stories, name, config) for name, stories in texts.items()}
    entry["likelihood"] = likelihood_section(measured, config, writer.tokenizer.lossless)
    if asked:
        entry["stories"] = measure_stories(writer, asked)
    return entry, measured


def names_of_models(writers: Sequence[Writer], given: Sequence[str]) -> dict[str, Writer]:
    """Each writer by its name, or as it was given where two have the same name."""
    names = Counter(writer.name for writer in writers)
    return {
        writer.name if names[writer.name] == 1 else path: writer for writer, path in zip(writers, given, strict=True)
    }


def measure(writer: Writer, texts: Texts, doing: str, config: LikelihoodConfig | None = None) -> Likelihood:
    """The likelihood of the texts, with a progress bar."""
    bar = tqdm(texts, desc=f"{writer.name} on {doing}", unit="story", disable=None, leave=False)
    try:
        return text_likelihood(writer.model, writer.tokenizer, bar, config)
    except StorygenError as error:
        raise StorygenError(f"{writer.name} on {doing}: {error}") from None


def compare_with_counting(
    files: Sequence[Path], texts: Mapping[str, Texts], writers: Mapping[str, Writer]
) -> dict[str, Any]:
    """The section of the baselines; n-grams are of the first tokenizer that loses nothing, if there is one."""
    name, writer = min(writers.items(), key=lambda item: not item[1].tokenizer.lossless)
    training = [text for file in files for text in read_texts(file)]
    found = measure_baselines(training, texts, writer.tokenizer)
    steps = tqdm(found, "baselines", (len(COMPRESSORS) + 1) * len(texts), unit="text", disable=None, leave=False)
    return baselines_section(steps, training, [file.name for file in files], name)


def measure_stories(writer: Writer, asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What readers notice of a model's stories, and how often it finds a text likeliest after its own prompt."""
    prompts = [prompt for prompt, _ in asked]
    written = tqdm(write_for(writer, prompts), f"{writer.name} writes", len(prompts), unit="story", disable=None)
    figures = asdict(judge(prompts, written))
    found = strategies.share_found(writer, asked)
    if found is not None:
        figures["true_prompt_wins"] = found
    return {"method": STORIES_METHOD, **{name: round(value, 4) for name, value in figures.items()}}


if __name__ == "__main__":
    run(main)
