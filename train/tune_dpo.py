"""`python -m train.finetune dpo`: a model learns from the preference pairs that the arena exports."""

import argparse
import dataclasses
import hashlib
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
from storygen.tuning.preferences import Pair, make_pairs, read_preferences, split_by_prompt
from train.evaluate import named, read_texts, text_files
from train.tune_sft import add_forgetting, bits_per_byte, print_forgetting

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


def tune(arguments: argparse.Namespace) -> None:
    """Trains, and writes the best model with its lineage."""
    config = DPOConfig(**settings_in(arguments, DPOConfig))
    files = named(text_files(arguments.text))
    out = output_folder(arguments.out, arguments.overwrite, (LOG, artifact.BEST), [arguments.pairs])
    parent, tuned = artifact.load(arguments.model), artifact.load(arguments.model)
    rows = read_preferences(arguments.pairs)
    context = parent.model.config.context_length
    pairs = make_pairs(rows, parent.tokenizer, context, weighted=not config.equal_raters)
    train, valid = split_by_prompt(pairs, config.valid_share, config.seed)
    print(f"{len(rows):,} votes on {len(pairs):,} pairs, {len(valid):,} of them held out", flush=True)
    with locked(out):
        clear(out)
        texts = [text for file in files.values() for text in read_texts(file)]
        if config.lora_rank:
            add_adapters(tuned.model, config.lora_rank)
        outcome = _fit(parent, tuned, train, valid, texts, config, out)
        model = merged(tuned.model) if config.lora_rank else tuned.model
        training = {name: value for name, value in tuned.training.items() if name not in OF_WEIGHTS}
        tuned = dataclasses.replace(tuned, model=model.eval(), training=training, reward=None)
        figures = bits_per_byte(parent, tuned, files)
        best = outcome.looks[outcome.best]
        steps = descended(
            parent, "dpo", about(rows, pairs), settings=config.to_dict(), bits_per_byte=figures,
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
    known = {id(pair): row for pair, row in zip(train, reference_logprobs(reference, train, 16), strict=True)}
    known_valid = reference_logprobs(reference, valid, 16)
    kept_bits = text_likelihood(reference, parent.tokenizer, texts).bits_per_byte
    stories = [story for pair in valid for story in (pair.first, pair.second)][:STORIES_FOR_KL]

    def batches(draw: torch.Generator) -> list[tuple[list[Pair], torch.Tensor]]:
        order = torch.randperm(len(train), generator=draw).tolist()
        parts = [order[start : start + config.batch_pairs] for start in range(0, len(order), config.batch_pairs)]
        chosen = [[train[number] for number in part] for part in parts]
        return [(part, torch.stack([known[id(pair)] for pair in part])) for part in chosen]

    def look() -> Look:
        with torch.no_grad():
            parts = [(valid[i : i + 16], known_valid[i : i + 16]) for i in range(0, len(valid), 16)]
            margins = torch.cat([loss.margins(*part) for part in parts])
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
    return fit(loss, batches, look, plan, accelerator, out)


def about(rows: list[dict[str, Any]], pairs: list[Pair]) -> dict[str, Any]:
    """What the lineage says of the votes: how many, and a fingerprint of them."""
    votes = "\n".join(sorted(f"{row['chosen']}\0{row['rejected']}" for row in rows))
    digest = hashlib.sha256(votes.encode("utf-8", "replace")).hexdigest()
    return {"votes": len(rows), "pairs": len(pairs), "fingerprint": digest[:12]}
