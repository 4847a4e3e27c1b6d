"""`python -m train.finetune sft`: a model goes on training on a packed corpus, by way of `train.pretrain`.

What is added: settings that suit a small corpus, an end when the validation stories say so, and a measure of what the
model has forgotten.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from storygen import artifact
from storygen.cli import add_settings, settings_in
from storygen.data.shards import PackedStories
from storygen.errors import StorygenError
from storygen.training.settings import TrainConfig
from storygen.tuning.lineage import descended, write_lineage
from storygen.tuning.sft import EPOCHS, check_size, default_settings
from storygen.writer import Writer
from train import pretrain
from train.evaluate import measure
from train.story_files import Texts, named, read_texts, text_files


def add_command(commands: Any) -> None:
    """Adds `sft` to the subcommands of a parser."""
    parser = commands.add_parser("sft", help="go on training on a packed corpus", description=__doc__)
    parser.add_argument("--model", required=True, help="model to start from: a folder or a Hub repository")
    parser.add_argument("--data", type=Path, required=True, help="folder that train.prepare wrote, with its tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it holds an earlier run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--epochs", type=float, default=EPOCHS, help=f"passes over the corpus (default: {EPOCHS:g})")
    add_forgetting(parser)
    add_settings(parser, TrainConfig)
    parser.set_defaults(run=tune)


def add_forgetting(parser: argparse.ArgumentParser) -> None:
    """Adds the flag for the texts on which forgetting is measured."""
    parser.add_argument(
        "--text",
        nargs="+",
        default=[],
        help="story files on which bits per byte are measured before and after; default: the built-in tales.valid",
    )


def tune(arguments: argparse.Namespace) -> None:
    """Trains, measures, and writes the lineage."""
    if not arguments.epochs > 0:
        raise StorygenError(f"--epochs is {arguments.epochs:g}; it must be above 0")
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    stories = PackedStories(arguments.data, "train")
    check_size(stories)
    parent = artifact.load(arguments.model)
    trainer = pretrain.train(_pretrain_arguments(arguments, stories))
    if trainer.was_stopped or not trainer.machine.is_main:
        return
    best = arguments.out / artifact.BEST
    tuned = artifact.load(best)
    figures = bits_per_byte(parent, tuned, texts)
    data = {"corpus": arguments.data.resolve().name, "fingerprint": stories.manifest["fingerprint"][:12]}
    write_lineage(tuned, best, descended(parent, "sft", data, bits_per_byte=figures))
    print_forgetting(figures)


def _pretrain_arguments(arguments: argparse.Namespace, stories: PackedStories) -> list[str]:
    """The command line of train.pretrain; settings that were given win over the defaults."""
    command = ["--data", str(arguments.data), "--out", str(arguments.out)]
    settings = settings_in(arguments, TrainConfig)
    if arguments.resume:
        command += ["--resume"]
    else:
        command += ["--init-from", arguments.model, *(["--overwrite"] if arguments.overwrite else [])]
        tokens = stories.manifest["splits"]["train"]["tokens"]
        defaults = default_settings(tokens, arguments.epochs, bool(settings.get("lora_rank")))
        if settings.keys() & pretrain.BUDGETS:
            del defaults["tokens"]
        settings = defaults | settings
    return [*command, *(part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}"))]


def bits_per_byte(
    before: artifact.Artifact, after: artifact.Artifact, texts: dict[str, Texts]
) -> dict[str, tuple[float, float]]:
    """Of each text, before and after."""
    figures = {}
    for name, stories in texts.items():
        pair = (measure(Writer(model), stories, name).bits_per_byte for model in (before, after))
        figures[name] = tuple(round(value, 4) for value in pair)
    return figures


def print_forgetting(figures: dict[str, tuple[float, float]]) -> None:
    """Says what the tuning has cost, or won, on texts that it is not about."""
    for name, (before, after) in figures.items():
        print(f"{name}: {before:.3f} bits per byte before, {after:.3f} after ({after / before - 1:+.1%})")
