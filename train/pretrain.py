"""Trains a model on a packed corpus: `python -m train.pretrain --data runs/tales --out runs/mine --minutes 5`.

A recipe (train/recipes/*.toml) sets any of the settings below, in the tables [model] and [train]; flags win over it. A
resumed run has the settings that it was started with, but for those that recipe and flags change.
"""

import argparse
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from storygen.artifact import BEST
from storygen.cli import Parser, add_settings, run, settings_in
from storygen.config import LSTMConfig, ModelConfig, TransformerConfig, unknown_name
from storygen.data.pack import PackedStories
from storygen.errors import StorygenError
from storygen.folders import output_folder
from storygen.models import ARCHITECTURES, build_model, config_from_dict
from storygen.tokenizers import load_tokenizer
from storygen.training import checkpoint as checkpoints
from storygen.training import log
from storygen.training.settings import TrainConfig
from storygen.training.trainer import Trainer

BUDGETS = ("minutes", "steps", "tokens")
DEFAULT_MINUTES = 5.0
TABLES = ("model", "train")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _parser().parse_args(argv)
    recipe = read_recipe(arguments.recipe) if arguments.recipe else {"model": {}, "train": {}}
    flags = settings_in(arguments, TrainConfig)
    checkpoint = None
    if arguments.resume:
        out = arguments.out.resolve()
        checkpoint = checkpoints.load_checkpoint(out)
        given = {**recipe["train"], **flags}
        kept = {k: v for k, v in checkpoint.train_config.items() if k not in BUDGETS or not given.keys() & set(BUDGETS)}
        train_values, model_values = {**kept, **given}, {**checkpoint.model_config, **recipe["model"]}
    else:
        out = output_folder(arguments.out, arguments.overwrite, (checkpoints.FILE, log.FILE), [arguments.data])
        train_values, model_values = {**recipe["train"], **flags}, recipe["model"]
        if not train_values.keys() & set(BUDGETS):
            train_values["minutes"] = DEFAULT_MINUTES
    config = TrainConfig.from_dict(train_values)

    tokenizer = load_tokenizer(arguments.data / "tokenizer.json")
    train = PackedStories(arguments.data, "train")
    valid = PackedStories(arguments.data, "valid") if train.manifest["splits"]["valid"]["stories"] else None
    if tokenizer.fingerprint != train.fingerprint:
        raise StorygenError(f"{arguments.data} was packed with another tokenizer; run train.prepare again")
    torch.manual_seed(config.seed)
    model = build_model(_model_config(arguments, model_values, tokenizer.vocab_size))

    trainer = Trainer(model, tokenizer, train, valid, config, out)
    if checkpoint:
        trainer.resume(checkpoint)
    elif trainer.accelerator.is_main_process:
        shutil.rmtree(out, ignore_errors=True)
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
    for name, table in recipe.items():
        if name not in TABLES:
            raise StorygenError(f"recipe {path}: {unknown_name('table', name, TABLES)}")
        if not isinstance(table, dict):
            raise StorygenError(f"recipe {path}: {name} must be a table, [{name}], not {table!r}")
    return {name: recipe.get(name, {}) for name in TABLES}


def _model_config(arguments: argparse.Namespace, values: dict[str, Any], vocab_size: int) -> ModelConfig:
    """The model's shape: defaults, then recipe or checkpoint, then flags; the vocabulary is the tokenizer's."""
    values = {"architecture": "transformer", **values}
    if arguments.architecture:
        values["architecture"] = arguments.architecture
    flags = {**settings_in(arguments, TransformerConfig), **settings_in(arguments, LSTMConfig)}
    return config_from_dict({**values, **flags, "vocab_size": vocab_size})


def _parser() -> Parser:
    parser = Parser(prog="python -m train.pretrain", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--data", type=Path, required=True, help="folder that train.prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it holds an earlier run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--recipe", type=Path, help="a .toml file with tables [model] and [train]")
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), help="default: transformer")
    add_settings(parser, TrainConfig)
    add_settings(parser, TransformerConfig, skip=("vocab_size",))
    add_settings(parser, LSTMConfig, skip=("vocab_size", *TransformerConfig.__dataclass_fields__))
    return parser


if __name__ == "__main__":
    run(main)
