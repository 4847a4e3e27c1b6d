"""`python -m train.finetune dpo`: a model learns from the preference pairs that the arena exports."""

import argparse
import dataclasses
import hashlib
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import torch

from storygen import artifact
from storygen.cli import add_settings, settings_in
from storygen.evaluation.likelihood import text_likelihood
from storygen.folders import clear, locked, output_folder
from storygen.models.lora import add_adapters, merged
from storygen.training.log import FILE as LOG
from storygen.tuning.dpo import (
    DPOConfig,
    PreferenceLoss,
    divergence,
    preference_figures,
    reference_logprobs,
)  # fmt: skip
from storygen.tuning.lineage import OF_WEIGHTS, descended, write_lineage
from storygen.tuning.loop import Look, Outcome, Plan, fit, one_process
from storygen.tuning.preferences import Pair, PairsConfig, draw_batches, make_pairs, read_preferences, split_by_prompt
from train.story_files import named, read_texts, text_files
from train.tune_sft import add_forgetting, bits_per_byte, print_forgetting

AT_ONCE = 16
"""Pairs that are read as one batch where nothing is learned from them."""
STORIES_FOR_KL = 32
"""Held-out stories at whose tokens the divergence from the reference is measured: some thousands, which is enough."""


def add_command(commands: Any) -> None:
    """Adds `dpo` to the subcommands of a parser."""
    parser = commands.add_parser("dpo", help="learn from preference pairs", description=__doc__)
    add_files(parser)
    add_forgetting(parser)
    add_settings(parser, DPOConfig)
    parser.set_defaults(run=tune)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for what is read and written."""
    parser.add_argument("--model", required=True, help="model to start from: a folder or a Hub repository")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of an export, or its preferences.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the model is in its folder best")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it holds an earlier run")


def read_pairs(
    path: Path, parent: artifact.Artifact, config: PairsConfig
) -> tuple[list[Pair], list[Pair], dict[str, Any]]:
    """The pairs of an export to learn from, those that are held out, and what the lineage says of the votes."""
    rows = read_preferences(path)
    context = parent.model.config.context_length
    pairs = make_pairs(rows, parent.tokenizer, context, weighted=not config.equal_raters)
    train, valid = split_by_prompt(pairs, config.valid_share, config.seed)
    print(f"{len(rows):,} votes on {len(pairs):,} pairs, {len(valid):,} of them held out", flush=True)
    return train, valid, about(rows, pairs)


def tune(arguments: argparse.Namespace) -> None:
    """Trains, and writes the best model with its lineage."""
    config = DPOConfig(**settings_in(arguments, DPOConfig))
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    out = output_folder(arguments.out, arguments.overwrite, (LOG, artifact.BEST), [arguments.pairs])
    parent, tuned = artifact.load(arguments.model), artifact.load(arguments.model)
    train, valid, votes = read_pairs(arguments.pairs, parent, config)
    with locked(out):
        clear(out)
        if config.lora_rank:
            add_adapters(tuned.model, config.lora_rank)
        outcome = _fit(parent, tuned, train, valid, list(itertools.chain(*texts.values())), config, out)
        model = merged(tuned.model) if config.lora_rank else tuned.model
        training = {name: value for name, value in tuned.training.items() if name not in OF_WEIGHTS}
        tuned = dataclasses.replace(tuned, model=model.eval(), training=training, reward=None)
        figures = bits_per_byte(parent, tuned, texts)
        best = outcome.looks[outcome.best]
        steps = descended(
            parent, "dpo", votes, settings=config.to_dict(), bits_per_byte=figures,
            held_out={"pairs": len(valid), **best},
        )  # fmt: skip
        write_lineage(tuned, out / artifact.BEST, steps)
    print(f"ended: {outcome.ended}; the best is from step {best['step']}:")
    print(
        f"held-out votes agreed with {best['accuracy']:.1%}, margin {best['margin']:.3f}, "
        f"{best['kl']:.4f} nats a token from the reference"
    )
    print_forgetting(figures)
    print(f"write with it: python -m storygen --model {arguments.out / artifact.BEST} 'Once upon a time'")


def _fit(
    parent: artifact.Artifact,
    tuned: artifact.Artifact,
    train: list[Pair],
    valid: list[Pair],
    texts: list[str],
    config: DPOConfig,
    out: Path,
) -> Outcome:
    accelerator = one_process()
    reference = parent.model.requires_grad_(False).to(accelerator.device)
    loss = PreferenceLoss(tuned.model, config)
    known, known_valid = (reference_logprobs(reference, pairs, AT_ONCE) for pairs in (train, valid))
    kept_bits = text_likelihood(reference, parent.tokenizer, texts).bits_per_byte
    stories = [story for pair in valid for story in (pair.first, pair.second)][:STORIES_FOR_KL]

    def look() -> Look:
        with torch.no_grad():
            parts = (slice(start, start + AT_ONCE) for start in range(0, len(valid), AT_ONCE))
            margins = torch.cat([loss.margins(valid[part], known_valid[part]) for part in parts])
        found = preference_figures(margins, valid, config.beta)
        kl = divergence(tuned.model, reference, stories)
        bits = text_likelihood(tuned.model, parent.tokenizer, texts).bits_per_byte
        passed = ""
        if kl > config.max_kl:
            passed = f"{kl:.3f} nats a token from the reference, over max_kl {config.max_kl:g}"
        elif bits > kept_bits * (1 + config.max_worse):
            passed = f"bits per byte rose from {kept_bits:.3f} to {bits:.3f}, over max_worse {config.max_worse:g}"
        figures = {**dataclasses.asdict(found), "kl": kl, "bits_per_byte": bits}
        return Look(found.preference_loss, {name: round(value, 5) for name, value in figures.items()}, passed)

    plan = Plan(config.epochs, config.learning_rate, config.looks, config.patience, config.seed)
    return fit(loss, partial(draw_batches, train, known, config.batch_pairs), look, plan, accelerator, out)


def about(rows: list[dict[str, Any]], pairs: list[Pair]) -> dict[str, Any]:
    """What the lineage says of the votes: how many, and a fingerprint of them."""
    votes = "\n".join(sorted(f"{row['chosen']}\0{row['rejected']}" for row in rows))
    digest = hashlib.sha256(votes.encode("utf-8", "replace")).hexdigest()
    return {"votes": len(rows), "pairs": len(pairs), "fingerprint": digest[:12]}
