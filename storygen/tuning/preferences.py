"""Preference pairs: from the arena's export to tokens, with the votes on the same two stories put together."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from storygen.arena.export import PAIRS
from storygen.config import Config, option
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import token_nats
from storygen.models import LanguageModel
from storygen.tokenizers import Tokenizer
from storygen.tuning.told import Told, tell

FEWEST = 20
"""Pairs from which something can be learned and something else be held out."""
_FIELDS = {
    "prompt": str, "opening": str, "chosen": str, "rejected": str, "chosen_ended": bool, "rejected_ended": bool,
    "reliability": float,
}  # fmt: skip


@dataclass(frozen=True)
class PairsConfig(Config):
    """How preference pairs are weighed, and which of them are held out."""

    equal_raters: bool = option(False, "Let the votes of all raters weigh the same, reliable or not.")
    valid_share: float = option(0.1, "Share of the prompts whose pairs are held out.", low=0.01, high=0.5)
    seed: int = option(0, "Draws the order of the pairs and which prompts are held out.", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class Pair:
    """Two stories on one prompt, and how much is said for each of them."""

    prompt: str
    """With the opening; pairs with the same one stay together when pairs are split."""
    first: Told
    second: Told
    for_first: float
    """Sum of the weights of the votes for it."""
    for_second: float

    @property
    def weight(self) -> float:
        """All that is said."""
        return self.for_first + self.for_second


def read_preferences(path: Path) -> list[dict[str, Any]]:
    """The rows of an export's preferences.jsonl; `path` is the file or the folder of the export."""
    path = path / f"{PAIRS}.jsonl" if path.is_dir() else path
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise StorygenError(f"{path} cannot be read: {error.strerror}; name an export of the arena") from None
    except ValueError as error:
        raise StorygenError(f"{path} is not JSON lines: {error}") from None
    for number, row in enumerate(rows, 1):
        for name, kind in _FIELDS.items():
            if not isinstance(row, dict) or type(row.get(name)) is not kind:
                raise StorygenError(
                    f"{path}:{number} has no {name} that is a {kind.__name__}; make it with python -m storygen.arena "
                    "export"
                )
    if len(rows) < FEWEST:
        raise StorygenError(f"{path} has {len(rows)} preference pairs; {FEWEST} or more are needed")
    return rows


def make_pairs(
    rows: Iterable[dict[str, Any]], tokenizer: Tokenizer, context_length: int, weighted: bool = True
) -> list[Pair]:
    """The pairs of an export for a model; what does not fit into its context is cut off at the end.

    A vote weighs 2 p - 1, where p is the rater's reliability: 0 for one who tosses a coin; weights are scaled so that
    their mean is 1. With `weighted` false all are 1. Votes on the same two stories are one pair, which is read once.
    """
    pairs: dict[tuple[str, ...], Pair] = {}
    rows = list(rows)
    weights = [max(0.0, 2 * row["reliability"] - 1) if weighted else 1.0 for row in rows]
    mean = sum(weights) / max(1, len(weights))
    if not mean:
        raise StorygenError("every rater of the export votes as by a coin; nothing can be learned from that")
    for row, weight in zip(rows, weights, strict=True):
        asked = (row["prompt"].strip(), row["opening"].rstrip())
        texts = sorted((row["chosen"], row["rejected"]))
        key = (*asked, *texts)
        if key not in pairs:
            ended = {row["chosen"]: row["chosen_ended"], row["rejected"]: row["rejected_ended"]}
            told = [_told(tokenizer, *asked, text, ended[text], context_length) for text in texts]
            pairs[key] = Pair("\n".join(asked), *told, 0.0, 0.0)
        is_first = row["chosen"] == texts[0]
        name = "for_first" if is_first else "for_second"
        pairs[key] = replace(pairs[key], **{name: getattr(pairs[key], name) + weight / mean})
    return [pair for pair in pairs.values() if pair.weight and pair.first.scored and pair.second.scored]


def _told(tokenizer: Tokenizer, title: str, opening: str, text: str, has_ended: bool, context_length: int) -> Told:
    """A story's tokens. An opening that the arena's one look has changed counts as written, on both sides alike."""
    given = opening if text.startswith(opening) else ""
    return tell(tokenizer, title, given, text[len(given) :], has_ended, context_length)


def split_by_prompt(pairs: Sequence[Pair], share: float, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs, no prompt in both; which prompts is a function of their text and the seed."""

    def place(prompt: str) -> bytes:
        return hashlib.blake2b(f"{seed} {prompt}".encode("utf-8", "replace")).digest()

    prompts = sorted({pair.prompt for pair in pairs}, key=place)
    held = set(prompts[: max(1, round(share * len(prompts)))])
    train, valid = ([pair for pair in pairs if (pair.prompt in held) == is_held] for is_held in (False, True))
    if not train or not valid:
        raise StorygenError(
            f"the pairs have {len(prompts)} different prompts; some to learn from and some to hold out are needed"
        )
    return train, valid


def draw_batches(
    pairs: Sequence[Pair], known: Tensor, size: int, draw: torch.Generator
) -> list[tuple[list[Pair], Tensor]]:
    """An epoch's batches in a drawn order, each with the rows of `known`, (pairs, ...), that belong to its pairs."""
    parts = torch.randperm(len(pairs), generator=draw).split(size)
    return [([pairs[number] for number in part], known[part]) for part in parts]


def logprobs(model: LanguageModel, stories: Sequence[Told]) -> Tensor:
    """Log-probability of each story's own tokens, given what stands before them: (stories,), with gradient."""
    return -token_nats(model, [(each.tokens, each.scored) for each in stories]).sum(dim=1)
