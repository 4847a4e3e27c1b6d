"""Trains a model on a packed corpus: `python -m train.pretrain --data runs/tales --out runs/mine --minutes 5`.

A recipe (train/recipes/*.toml) sets any of the flags below, in the tables [model] and [train]; flags given on the
command line win over it.
"""

import argparse
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from storygen.artifact import BEST
from storygen.cli import add_settings, new_directory, run, settings_in
from storygen.config import LSTMConfig, TransformerConfig, unknown_name
from storygen.data.pack import PackedStories
from storygen.errors import StorygenError
from storygen.models import ARCHITECTURES, build_model
from storygen.tokenizers import load_tokenizer
from storygen.training.checkpoint import FILE
from storygen.training.settings import TrainConfig
from storygen.training.trainer import Trainer

DEFAULT_MINUTES = 5.0


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _parser().parse_args(argv)
    recipe = read_recipe(arguments.recipe) if arguments.recipe else {"model": {}, "train": {}}
    if arguments.resume and not (arguments.out / FILE).exists():
        raise StorygenError(f"nothing to resume: {arguments.out / FILE} does not exist; start without --resume")
    if not arguments.resume:
        new_directory(arguments.out, arguments.overwrite)
    train_values = {**recipe["train"], **settings_in(arguments, TrainConfig)}
    if not train_values.keys() & {"minutes", "steps", "tokens"}:
        train_values["minutes"] = DEFAULT_MINUTES
    config = TrainConfig.from_dict(train_values)

    tokenizer = load_tokenizer(arguments.data / "tokenizer.json")
    train = PackedStories(arguments.data, "train")
    valid = PackedStories(arguments.data, "valid") if train.manifest["splits"]["valid"]["stories"] else None
    if tokenizer.fingerprint != train.manifest["tokenizer"]["fingerprint"]:
        raise StorygenError(f"{arguments.data} was packed with another tokenizer; run train.prepare again")
    torch.manual_seed(config.seed)
    model = build_model(_model_config(arguments, recipe["model"], tokenizer.vocab_size))

    trainer = Trainer(model, tokenizer, train, valid, config, arguments.out)
    if arguments.resume:
        trainer.resume()
    elif trainer.accelerator.is_main_process:
        shutil.rmtree(arguments.out, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    progress = trainer.run()
    if not trainer.accelerator.is_main_process:
        return
    if trainer.was_stopped:
        print(f"stopped after step {progress.step}, saved; go on with --resume")
    else:
        best = "" if progress.best is None else f", best validation {progress.best:.3f} bits per byte"
        print(f"{progress.step} steps, {progress.tokens:,} tokens in {progress.seconds / 60:.1f} minutes{best}")
        print(f"write with it: python -m storygen --model {arguments.out / BEST} 'Once upon a time'")


def read_recipe(path: Path) -> dict[str, dict[str, Any]]:
    """The tables [model] and [train] of a recipe; unknown tables are refused, unknown keys by the configs."""
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorygenError(f"recipe {path} cannot be read: {error}") from None
    for name in recipe:
        if name not in ("model", "train"):
            raise StorygenError(f"recipe {path}: {unknown_name('table', name, ('model', 'train'))}")
    return {"model": recipe.get("model", {}), "train": recipe.get("train", {})}


def _model_config(arguments: argparse.Namespace, recipe: dict[str, Any], vocab_size: int) -> Any:
    """The model's shape: defaults, then the recipe, then the flags; the vocabulary is the tokenizer's."""
    recipe = dict(recipe)
    architecture = arguments.architecture or recipe.get("architecture", "transformer")
    recipe.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    config_class = ARCHITECTURES[architecture][0]
    given = {**settings_in(arguments, TransformerConfig), **settings_in(arguments, LSTMConfig)}
    return config_class.from_dict({**recipe, **given, "vocab_size": vocab_size})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.pretrain", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that train.prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--recipe", type=Path, help="a .toml file with tables [model] and [train]")
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), help="default: transformer")
    add_settings(parser, TrainConfig)
    add_settings(parser, TransformerConfig, skip=("vocab_size",))
    add_settings(parser, LSTMConfig, skip=("vocab_size", *TransformerConfig.__dataclass_fields__))
    return parser


if __name__ == "__main__":
    run(main)
