"""Trains a model on a packed corpus: `python -m train.pretrain --data runs/tales --out runs/mine --minutes 5`.

A recipe (train/recipes/*.toml) sets any of the settings below, in the tables [model] and [train]; flags win over it,
and --set wins over both. A resumed run has the settings that it was started with, but for those that these change.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from storygen import artifact
from storygen.cli import Parser, add_settings, run, settings_in
from storygen.config import LSTMConfig, TransformerConfig
from storygen.data.pack import PackedStories
from storygen.errors import StorygenError
from storygen.folders import clear, locked, output_folder
from storygen.models import ARCHITECTURES, LanguageModel, build_model, config_from_dict, config_to_dict
from storygen.tokenizers import Tokenizer, load_tokenizer
from storygen.training import log, recipe
from storygen.training.checkpoint import FILE as CHECKPOINT
from storygen.training.checkpoint import Checkpoint, load_checkpoint
from storygen.training.machine import TRACKERS
from storygen.training.settings import TrainConfig
from storygen.training.trainer import Trainer

BUDGETS = {"minutes", "steps", "tokens"}
DEFAULT_MINUTES = 5.0


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _parser().parse_args(argv)
    given = _given(arguments)
    out, checkpoint, initial = arguments.out.resolve(), None, None
    if arguments.resume:
        checkpoint, note = load_checkpoint(out)
        if note:
            print(f"note: {note}", file=sys.stderr)
    else:
        output_folder(out, arguments.overwrite, (CHECKPOINT, log.FILE, recipe.FILE), [arguments.data])
        initial = artifact.load(arguments.init_from) if arguments.init_from else None
    config = _train_config(given, checkpoint)
    tokenizer = load_tokenizer(arguments.data / "tokenizer.json")
    train = _open_corpus(arguments.data, tokenizer, given)
    valid = PackedStories(arguments.data, "valid") if train.manifest["splits"]["valid"]["stories"] else None
    torch.manual_seed(config.seed)
    model = _build_model(given, tokenizer, checkpoint, initial)
    parent = {"name": initial.name, "revision": initial.revision} if initial else None

    trainer = Trainer(model, tokenizer, train, valid, config, out, parent=parent, track=arguments.track)
    is_main = trainer.accelerator.is_main_process
    with locked(out) if is_main else contextlib.nullcontext():
        if checkpoint:
            trainer.resume(checkpoint)
        elif is_main:
            clear(out)
        if is_main:
            fingerprint = {"fingerprint": train.manifest["fingerprint"]}
            recipe.write_recipe(
                out / recipe.FILE,
                {"model": config_to_dict(model.config), "train": config.to_dict(), "corpus": fingerprint},
            )
            print(trainer.machine, flush=True)
        trainer.accelerator.wait_for_everyone()
        progress = trainer.run()
    if not is_main:
        return
    if progress.skipped:
        print(f"{progress.skipped} steps were skipped: loss or gradient was not finite")
    if trainer.was_stopped:
        print(f"stopped after step {progress.step}, saved; go on with --resume")
    else:
        best = "" if progress.best is None else f", best validation {progress.best:.3f} bits per byte"
        print(f"{progress.step} steps, {progress.tokens:,} tokens in {progress.seconds / 60:.1f} minutes{best}")
        print(f"write with it: python -m storygen --model {arguments.out / artifact.BEST} 'Once upon a time'")


def _given(arguments: argparse.Namespace) -> recipe.Recipe:
    """What the user asked for: the recipe, over it the flags, over them --set."""
    given = recipe.read_recipe(arguments.recipe)
    given["train"] |= settings_in(arguments, TrainConfig)
    given["model"] |= settings_in(arguments, TransformerConfig) | settings_in(arguments, LSTMConfig)
    if arguments.architecture:
        given["model"]["architecture"] = arguments.architecture
    for text in arguments.set:
        table, name, value = recipe.parse_setting(text)
        given[table][name] = value
    return given


def _train_config(given: recipe.Recipe, checkpoint: Checkpoint | None) -> TrainConfig:
    """What was asked for, over what a resumed run was started with; a new budget replaces the old one."""
    values = dict(checkpoint.train_config) if checkpoint else {}
    if values.keys() & BUDGETS and given["train"].keys() & BUDGETS:
        values = {name: value for name, value in values.items() if name not in BUDGETS}
    values |= given["train"]
    if not values.keys() & BUDGETS:
        values["minutes"] = DEFAULT_MINUTES
    return TrainConfig.from_dict(values)


def _open_corpus(data: Path, tokenizer: Tokenizer, given: recipe.Recipe) -> PackedStories:
    train = PackedStories(data, "train")
    if tokenizer.fingerprint != train.fingerprint:
        raise StorygenError(f"{data} was packed with another tokenizer; run train.prepare again")
    wanted, found = given["corpus"].get("fingerprint"), train.manifest["fingerprint"]
    if wanted and wanted != found:
        raise StorygenError(
            f"the recipe is for the corpus {str(wanted)[:12]}, and {data} holds {found[:12]}; prepare that one"
        )
    return train


def _build_model(
    given: recipe.Recipe, tokenizer: Tokenizer, checkpoint: Checkpoint | None, initial: artifact.Artifact | None
) -> LanguageModel:
    """The model in the shape asked for, with the weights of the artifact that it starts from, if any."""
    before = checkpoint.model_config if checkpoint else config_to_dict(initial.model.config) if initial else {}
    architecture = given["model"].get("architecture", before.get("architecture", "transformer"))
    if before and architecture != before["architecture"]:
        raise StorygenError(
            f"it was started as a model of architecture {before['architecture']!r}, not {architecture!r}"
        )
    if initial and initial.tokenizer.fingerprint != tokenizer.fingerprint:
        raise StorygenError(
            f"{initial.name} has another tokenizer than the corpus; run train.prepare with --reuse-tokenizer and the "
            "tokenizer.json of the model"
        )
    values = {**before, **given["model"], "architecture": architecture, "vocab_size": tokenizer.vocab_size}
    model = build_model(config_from_dict(values))
    if initial:
        try:
            model.load_state_dict(initial.model.state_dict())
        except RuntimeError as error:
            raise StorygenError(f"{initial.name} does not fit the shape asked for: {error}") from None
    return model


def _parser() -> Parser:
    parser = Parser(prog="python -m train.pretrain", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--data", type=Path, required=True, help="folder that train.prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it holds an earlier run")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    start.add_argument(
        "--init-from", metavar="MODEL", help="start a new run from the weights of a model: a folder or a Hub repository"
    )
    parser.add_argument("--recipe", type=Path, help="a .toml file with tables [model] and [train]")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be given several times"
    )
    parser.add_argument("--track", choices=TRACKERS, help="also send the log to an experiment tracker")
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), help="default: transformer")
    add_settings(parser, TrainConfig)
    add_settings(parser, TransformerConfig, skip=("vocab_size",))
    add_settings(parser, LSTMConfig, skip=("vocab_size", *TransformerConfig.__dataclass_fields__))
    return parser


if __name__ == "__main__":
    run(main)
