"""`python -m train.finetune rank`: a small reward model learns from the preference pairs that the arena exports.

The language model stays as it is. With the reward model beside it, the strategy best_of_n draws several stories and
keeps the one that readers would like best.
"""

import argparse
import dataclasses
from typing import Any

import torch
from torch import Tensor

from storygen import artifact
from storygen.cli import add_settings, settings_in
from storygen.folders import clear, locked, output_folder
from storygen.training.log import FILE as LOG
from storygen.tuning.dpo import preference_figures
from storygen.tuning.lineage import descended, write_lineage
from storygen.tuning.loop import Look, Outcome, Plan, fit, one_process
from storygen.tuning.preferences import Pair, make_pairs, read_preferences, split_by_prompt
from storygen.tuning.rank import RankConfig, RewardLoss, differences, spread
from train.tune_dpo import about, add_files


def add_command(commands: Any) -> None:
    """Adds `rank` to the subcommands of a parser."""
    parser = commands.add_parser("rank", help="train a reward model for best of n", description=__doc__)
    add_files(parser)
    add_settings(parser, RankConfig)
    parser.set_defaults(run=tune)


def tune(arguments: argparse.Namespace) -> None:
    """Trains, and writes the model with the reward model beside it."""
    config = RankConfig(**settings_in(arguments, RankConfig))
    out = output_folder(arguments.out, arguments.overwrite, (LOG,), [arguments.pairs])
    parent = artifact.load(arguments.model)
    rows = read_preferences(arguments.pairs)
    context = parent.model.config.context_length
    pairs = make_pairs(rows, parent.tokenizer, context, weighted=not config.equal_raters)
    train, valid = split_by_prompt(pairs, config.valid_share, config.seed)
    print(f"{len(rows):,} votes on {len(pairs):,} pairs, {len(valid):,} of them held out", flush=True)
    with locked(out):
        clear(out)
        known = [differences(parent.model, part) for part in (train, valid)]
        loss = RewardLoss(spread(known[0]))
        outcome = _fit(loss, (train, known[0]), (valid, known[1]), config, arguments)
        best = outcome.looks[outcome.best]
        held_out = {"pairs": len(valid), **best}
        steps = descended(parent, "rank", about(rows, pairs), settings=config.to_dict(), held_out=held_out)
        write_lineage(dataclasses.replace(parent, reward=loss.reward()), out / artifact.BEST, steps)
    print(f"ended: {outcome.ended}; held-out votes agreed with {best['accuracy']:.1%}")
    print(f"write with it: python -m storygen --model {arguments.out / artifact.BEST} --strategy best_of_n")


def _fit(
    loss: RewardLoss,
    train: tuple[list[Pair], Tensor],
    valid: tuple[list[Pair], Tensor],
    config: RankConfig,
    arguments: argparse.Namespace,
) -> Outcome:
    pairs, known = train

    def batches(draw: torch.Generator) -> list[tuple[list[Pair], Tensor]]:
        parts = torch.randperm(len(pairs), generator=draw).split(config.batch_pairs)
        return [([pairs[number] for number in part], known[part]) for part in parts]

    def look() -> Look:
        with torch.no_grad():
            found = preference_figures(loss.margins(valid[1]), valid[0], 1.0)
        figures = {name: round(value, 5) for name, value in dataclasses.asdict(found).items()}
        return Look(found.preference_loss, figures)

    plan = Plan(config.epochs, config.learning_rate, 1, config.patience, config.seed, weight_decay=config.weight_decay)
    return fit(loss, batches, look, plan, one_process(), arguments.out)
