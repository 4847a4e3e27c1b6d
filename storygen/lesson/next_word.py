"""The next token's probabilities, before and after a strategy's filters: what the engine draws from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storygen.config import STRATEGIES, GenerationConfig
from storygen.decoding.sampling import choose, random_numbers
from storygen.explain.steps import draw_probabilities
from storygen.models import LanguageModel

SAMPLED = tuple(name for name, settings in STRATEGIES.items() if not {"num_beams", "num_stories"} & set(settings))
"""The strategies that choose one token at a time."""


@dataclass(frozen=True)
class Candidate:
    """A token that could come next."""

    token: int
    before: float
    """Its probability by the model."""
    after: float
    """Its probability of being drawn; 0 if it was cut off."""


@dataclass(frozen=True)
class NextWord:
    """The two distributions over the next token."""

    candidates: tuple[Candidate, ...]
    """The likeliest by the model, best first."""
    kept: int
    """How many tokens can be drawn."""
    vocab_size: int
    choices_before: float
    """Two to the power of the entropy in bits: among how many equally likely tokens it would be as hard to guess."""
    choices_after: float


@torch.inference_mode()
def next_logprobs(model: LanguageModel, tokens: Sequence[int]) -> Tensor:
    """Log-probabilities (vocab,) of the token after these, on the CPU."""
    logits, _ = model(torch.tensor([list(tokens)], device=next(model.parameters()).device))
    return logits[0, -1].float().cpu().log_softmax(dim=-1)


def drawn_from(logprobs: Tensor, config: GenerationConfig) -> Tensor:
    """The probabilities (vocab,) with which `choose` takes each token; 1 for a single one if the choice is greedy."""
    [probabilities], _ = draw_probabilities(logprobs[None], config)
    return probabilities


def next_word(logprobs: Tensor, config: GenerationConfig, count: int) -> NextWord:
    """The `count` likeliest tokens before and after the filters, and how much choice there is."""
    before, after = logprobs.exp(), drawn_from(logprobs, config)
    best = logprobs.topk(min(count, len(logprobs))).indices
    rows = zip(best.tolist(), before[best].tolist(), after[best].tolist(), strict=True)
    return NextWord(
        candidates=tuple(Candidate(*row) for row in rows),
        kept=int((after > 0).sum()),
        vocab_size=len(logprobs),
        choices_before=_choices(before),
        choices_after=_choices(after),
    )


def draw_token(logprobs: Tensor, config: GenerationConfig, seed: int) -> int:
    """A token as the engine draws its first one with this seed."""
    [token] = choose(logprobs[None], [config], [random_numbers(seed)])
    return token


def _choices(probabilities: Tensor) -> float:
    return math.exp(float(torch.special.entr(probabilities.double()).sum()))
