"""The choice behind each token of a story: what the model thought of all tokens, and what the settings made of that.

Nothing needs to be recorded while a story is written. The model reads it once more, whole, and gives the same
distributions (its last digits may differ, so a token at the very edge of a filter may be told to lie beyond it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from storygen.config import GenerationConfig
from storygen.decoding.filters import filter_logits
from storygen.decoding.modifiers import is_modified, modify
from storygen.decoding.sampling import greedy, is_greedy
from storygen.decoding.stepper import STEPPER
from storygen.models import State
from storygen.writer import Result, Writer

ALTERNATIVES = 8
"""How many of the likeliest tokens are told of."""
TOKENS_AT_A_TIME = 64
"""A long story is read in parts of so many tokens, between which the stories of others go on."""


@dataclass(frozen=True)
class Choice:
    """A token that could come next."""

    id: int
    text: str
    before: float
    """Its probability under the model."""
    after: float
    """The probability with which the strategy draws it, after modifiers and filters. A beam search does not draw:
    there it is what the search counts with, and the probabilities of all tokens need not add up to 1."""
    is_cut: bool
    """Whether modifiers or filters have removed it."""


@dataclass(frozen=True)
class Step:
    """One token of a story and what else there was to choose from."""

    chosen: Choice
    rank: int
    """Its place among all tokens by the model's probability; 1 is the likeliest."""
    entropy: float
    """Of the model's distribution, in nats."""
    choices: tuple[Choice, ...]
    """The likeliest tokens, best first, among them the chosen one if it is so likely."""
    cut: int
    """How many tokens of the vocabulary modifiers and filters have removed. Greedy has no filter: it removes none."""
    cut_mass: float
    """The probability that the model had given to those, all together."""


def explain(writer: Writer, result: Result) -> tuple[Step, ...]:
    """The steps by which the writer came to the tokens of a result; one forward pass in the thread that decodes."""
    prompt, _ = writer.prompt_tokens(result.opening, result.title)
    steps: list[Step] = []
    state: State | None = None
    for first in range(0, len(result.tokens), TOKENS_AT_A_TIME):

        def read(first: int = first, state: State | None = state) -> tuple[list[Step], State]:
            return _read(writer, prompt, result, first, state)

        part, state = STEPPER.run(read)
        steps += part
    return tuple(steps)


def draw_probabilities(scores: Tensor, config: GenerationConfig) -> tuple[Tensor, Tensor]:
    """What a strategy makes of modified log-probabilities (rows, vocab): probabilities, and which are removed."""
    if config.is_beam:
        return scores.exp(), scores.isneginf()
    if is_greedy(config):
        return F.one_hot(greedy(scores), scores.shape[-1]).float(), scores.isneginf()
    filtered = filter_logits(scores, config)
    return filtered.softmax(dim=-1), filtered.isneginf()


def _read(
    writer: Writer, prompt: Sequence[int], result: Result, first: int, state: State | None
) -> tuple[list[Step], State]:
    """The steps of one part of the tokens, and the state to go on from."""
    config, written = result.config, result.tokens[first : first + TOKENS_AT_A_TIME]
    # What predicts a token is read before it, so the reading is one token behind: the last one is not read.
    known = [*prompt, *written[:-1]] if state is None else [result.tokens[first - 1], *written[:-1]]
    device = next(writer.model.parameters()).device
    logits, state = writer.model(torch.tensor([known], device=device), state)
    logprobs = logits[0, -len(written) :].float().cpu().log_softmax(dim=-1)  # (tokens, vocab)
    scores = logprobs
    if is_modified(config):
        end_id = writer.tokenizer.end_id
        scores = torch.stack(
            [modify(row, prompt, result.tokens[: first + at], end_id, config) for at, row in enumerate(logprobs)]
        )
    before = logprobs.exp()
    after, removed = draw_probabilities(scores, config)
    chosen = torch.tensor(written)[:, None]
    best = before.topk(min(ALTERNATIVES, before.shape[1])).indices
    shown = torch.cat((chosen, best), dim=1)  # the chosen token first
    columns = zip(
        shown.tolist(),
        before.gather(1, shown).tolist(),
        after.gather(1, shown).tolist(),
        removed.gather(1, shown).tolist(),
        (before > before.gather(1, chosen)).sum(dim=1).tolist(),
        (-(before * logprobs).nan_to_num(0.0).sum(dim=1)).tolist(),
        removed.sum(dim=1).tolist(),
        (before * removed).sum(dim=1).tolist(),
        strict=True,
    )
    steps = []
    for ids, befores, afters, cuts, likelier, entropy, cut, mass in columns:
        told = zip(ids, befores, afters, cuts, strict=True)
        own, *choices = (Choice(id, writer.tokenizer.decode([id]), *values) for id, *values in told)
        steps.append(Step(own, likelier + 1, entropy, tuple(choices), cut, mass))
    return steps, state


def surprise(steps: Sequence[Step]) -> float:
    """How surprising these tokens are together, in bits: 1 for a probability of 1/2, 10 for one of about 1/1000."""
    return -sum(math.log2(max(step.chosen.before, 1e-30)) for step in steps)
