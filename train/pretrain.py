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
from storygen.config import LSTMConfig, ModelConfig, TransformerConfig
from storygen.data.shards import PackedStories
from storygen.errors import StorygenError
from storygen.folders import clear, locked, output_folder
from storygen.models import ARCHITECTURES, build_model, config_from_dict, config_to_dict
from storygen.tokenizers import Tokenizer, load_tokenizer
from storygen.training import log, recipe
from storygen.training.checkpoint import FILE as CHECKPOINT
from storygen.training.checkpoint import Checkpoint, load_checkpoint
from storygen.training.machine import TRACKERS, check_run, first_process
from storygen.training.settings import TrainConfig
from storygen.training.trainer import Trainer

BUDGETS = {"minutes", "steps", "tokens"}
DEFAULT_MINUTES = 5.0


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    train(argv)


def train(argv: Sequence[str] | None = None) -> Trainer:
    """The same; gives the trainer, whose run is over."""
    arguments = _parser().parse_args(argv)
    given = _given(arguments)
    out, is_main = arguments.out.resolve(), first_process()
    with contextlib.ExitStack() as held:
        checkpoint = initial = None
        if arguments.resume:
            if out.exists() and is_main:
                held.enter_context(locked(out))
            checkpoint, note = load_checkpoint(out)
            if note:
                print(f"note: {note}", file=sys.stderr)
        else:
            _check_out(arguments)
            initial = None if arguments.init_from is None else artifact.load(arguments.init_from)
            _check_start(given, initial)
        trainer = _trainer(arguments, given, checkpoint, initial)
        if checkpoint:
            trainer.resume(checkpoint)
        if is_main:
            if checkpoint is None:
                held.enter_context(locked(out))
                _check_out(arguments)  # again, as it may have been written since
                clear(out)
            _write_recipe(out, trainer)
            print(trainer.machine, flush=True)
        trainer.accelerator.wait_for_everyone()
        trainer.run()
    if is_main:
        _report(arguments, trainer)
    return trainer


def _report(arguments: argparse.Namespace, trainer: Trainer) -> None:
    progress = trainer.progress
    if progress.skipped:
        print(f"{progress.skipped} steps were skipped: loss or gradient was not finite")
    if trainer.was_stopped:
        print(f"stopped after step {progress.step}, saved; go on with --resume")
        return
    best = "" if progress.best is None else f", best validation {progress.best:.3f} bits per byte"
    print(f"{progress.step} steps, {progress.tokens:,} tokens in {progress.seconds / 60:.1f} minutes{best}")
    if trainer.is_out_of_patience:
        count = progress.validations_since_best
        print(f"{count} validations were no better; a higher --patience goes on with --resume")
    folder = arguments.out / artifact.BEST
    if not folder.exists():
        raise StorygenError("no validation gave a number, so no model was kept; try a lower learning rate")
    print(f"write with it: python -m storygen --model {folder} 'Once upon a time'")


def _check_out(arguments: argparse.Namespace) -> None:
    marks = (CHECKPOINT, log.FILE, recipe.FILE)
    inputs = [arguments.data] + [Path(path) for path in [arguments.init_from] if path and Path(path).exists()]
    output_folder(arguments.out, arguments.overwrite, marks, inputs)


def _trainer(
    arguments: argparse.Namespace,
    given: recipe.Recipe,
    checkpoint: Checkpoint | None,
    initial: artifact.Artifact | None,
) -> Trainer:
    """The run that was asked for; whatever can't be is refused before anything is built."""
    config = _train_config(given, checkpoint)
    if config.lora_rank and not (checkpoint or initial):
        raise StorygenError("lora_rank trains adapters of a model that is there; name one with --init-from")
    tokenizer = load_tokenizer(arguments.data / "tokenizer.json")
    train = _open_corpus(arguments.data, tokenizer, given)
    valid = PackedStories(arguments.data, "valid") if train.manifest["splits"]["valid"]["stories"] else None
    model_config = _model_config(given, tokenizer, checkpoint, initial)
    check_run(model_config, config, int(train.length.max()), arguments.track)
    torch.manual_seed(config.seed)
    model = build_model(model_config)
    if initial:
        try:
            model.load_state_dict(initial.model.state_dict())
        except RuntimeError as error:
            raise StorygenError(f"{initial.name} does not fit the shape asked for: {error}") from None
    parent = {"name": initial.name, "revision": initial.revision} if initial else None
    choices = dict(checkpoint.choices) if checkpoint else {}
    if checkpoint and any(checkpoint.train_config.get(name) != getattr(config, name) for name in BUDGETS):
        choices.pop("compile", None)  # with more time it may pay
    out = arguments.out.resolve()
    trainer = Trainer(
        model, tokenizer, train, valid, config, out, parent=parent, track=arguments.track, choices=choices
    )
    _check_step(given, trainer)
    return trainer


def _check_start(given: recipe.Recipe, initial: artifact.Artifact | None) -> None:
    """Refuses to repeat a run from another start than it had."""
    start = given["start"]
    wanted = (start.get("name"), start.get("revision"))
    if start and (initial is None or wanted[1] != initial.revision):
        found = "nothing" if initial is None else f"{initial.name} ({initial.revision})"
        raise StorygenError(
            f"the recipe starts from the model {wanted[0]} ({wanted[1]}), not from {found}; name that one with "
            "--init-from, or take [start] out of the recipe"
        )


def _check_step(given: recipe.Recipe, trainer: Trainer) -> None:
    """Refuses to repeat a run with steps of another size than it had."""
    processes, found = trainer.accelerator.num_processes, trainer.identity["batches of a step"]
    wanted = given["step"].get("batches", found)
    if type(wanted) is not int or wanted < 1:
        raise StorygenError(f"batches in [step] of the recipe must be a whole number above 0, not {wanted!r}")
    if wanted != found:
        raise StorygenError(
            f"a step of the recipe has {wanted} batches, and {processes} x accumulate {trainer.config.accumulate} are "
            f"{found}; set accumulate to {wanted / processes:g}, or take [step] out of the recipe"
        )


def _write_recipe(out: Path, trainer: Trainer) -> None:
    """What repeats the run."""
    recipe.write_recipe(
        out / recipe.FILE,
        {
            "model": config_to_dict(trainer.model.config),
            "train": trainer.config.to_dict(),
            "corpus": {"fingerprint": trainer.train.manifest["fingerprint"]},
            "start": trainer.parent or {},
            "step": {"batches": trainer.identity["batches of a step"]},
        },
    )


def _given(arguments: argparse.Namespace) -> recipe.Recipe:
    """What the user asked for: the recipe, over it the flags, over them --set."""
    given = recipe.read_recipe(arguments.recipe)
    asked = _names_asked(arguments)
    if asked & BUDGETS:  # they replace those of the recipe
        given["train"] = {name: value for name, value in given["train"].items() if name not in BUDGETS}
    if "accumulate" in asked:
        given["step"] = {}
    given["train"] |= settings_in(arguments, TrainConfig)
    given["model"] |= settings_in(arguments, TransformerConfig) | settings_in(arguments, LSTMConfig)
    if arguments.architecture:
        given["model"]["architecture"] = arguments.architecture
    for text in arguments.set:
        table, name, value = recipe.parse_setting(text)
        given[table][name] = value
    return given


def _names_asked(arguments: argparse.Namespace) -> set[str]:
    """The settings of training that flags and --set give."""
    return {recipe.parse_setting(text)[1] for text in arguments.set} | settings_in(arguments, TrainConfig).keys()


def _train_config(given: recipe.Recipe, checkpoint: Checkpoint | None) -> TrainConfig:
    """What was asked for, over what a resumed run was started with; a new budget replaces the old one."""
    values = dict(checkpoint.train_config) if checkpoint else {}
    rank = values.get("lora_rank", 0)
    if checkpoint and given["train"].get("lora_rank", rank) != rank:
        raise StorygenError(f"it was started with lora_rank {rank}; resume with the same")
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


def _model_config(
    given: recipe.Recipe, tokenizer: Tokenizer, checkpoint: Checkpoint | None, initial: artifact.Artifact | None
) -> ModelConfig:
    """The shape asked for, over that of the run that goes on or of the model that it starts from."""
    before = checkpoint.model_config if checkpoint else config_to_dict(initial.model.config) if initial else {}
    architecture = given["model"].get("architecture", before.get("architecture", "transformer"))
    if before and architecture != before["architecture"]:
        raise StorygenError(
            f"it was started as a model of architecture {before['architecture']!r}, not {architecture!r}"
        )
    if given["model"].get("vocab_size", tokenizer.vocab_size) != tokenizer.vocab_size:
        raise StorygenError(f"vocab_size is the tokenizer's, {tokenizer.vocab_size}; leave it out, or prepare anew")
    if initial and initial.tokenizer.fingerprint != tokenizer.fingerprint:
        raise StorygenError(
            f"{initial.name} has another tokenizer than the corpus; run train.prepare with --reuse-tokenizer and the "
            "tokenizer.json of the model"
        )
    values = {**before, **given["model"], "architecture": architecture, "vocab_size": tokenizer.vocab_size}
    config = config_from_dict(values)
    if checkpoint:
        for name, value in config_to_dict(config).items():
            if value != before.get(name) and name != "dropout":
                raise StorygenError(
                    f"it was started with {name} {before.get(name)!r}, not {value!r}; resume with the same, or start a "
                    "new run with --init-from"
                )
    return config


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
