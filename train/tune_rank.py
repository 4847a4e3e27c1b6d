"""`python -m train.finetune rank`: a small reward model learns from the preference pairs that the arena exports.

The language model stays as it is. With the reward model beside it, the strategy best_of_n draws several stories and
keeps the one that readers would like best.
"""

import argparse
import dataclasses
from functools import partial
from pathlib import Path
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
from storygen.tuning.preferences import Pair, draw_batches
from storygen.tuning.rank import RankConfig, RewardLoss, differences, spread
from train.tune_dpo import add_files, read_pairs


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
    train, valid, votes = read_pairs(arguments.pairs, parent, config)
    with locked(out):
        clear(out)
        known = [differences(parent.model, part) for part in (train, valid)]
        loss = RewardLoss(spread(known[0]))
        outcome = _fit(loss, (train, known[0]), (valid, known[1]), config, out)
        best = outcome.looks[outcome.best]
        held_out = {"pairs": len(valid), **best}
        steps = descended(parent, "rank", votes, settings=config.to_dict(), held_out=held_out)
        write_lineage(dataclasses.replace(parent, reward=loss.reward()), out / artifact.BEST, steps)
    print(f"ended: {outcome.ended}; held-out votes agreed with {best['accuracy']:.1%}")
    print(f"write with it: python -m storygen --model {arguments.out / artifact.BEST} --strategy best_of_n")


def _fit(
    loss: RewardLoss,
    train: tuple[list[Pair], Tensor],
    valid: tuple[list[Pair], Tensor],
    config: RankConfig,
    out: Path,
) -> Outcome:
    def look() -> Look:
        with torch.no_grad():
            found = preference_figures(loss.margins(valid[1]), valid[0], 1.0)
        figures = {name: round(value, 5) for name, value in dataclasses.asdict(found).items()}
        return Look(found.preference_loss, figures)

    plan = Plan(config.epochs, config.learning_rate, 1, config.patience, config.seed, weight_decay=config.weight_decay)
    return fit(loss, partial(draw_batches, *train, config.batch_pairs), look, plan, one_process(), out)
