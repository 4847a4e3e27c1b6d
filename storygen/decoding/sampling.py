"""Drawing the next token of many sequences at once, each with its own settings and its own random numbers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from storygen.config import GenerationConfig
from storygen.decoding.filters import filter_logits


def is_greedy(config: GenerationConfig) -> bool:
    """Whether the strategy always takes the likeliest token: greedy, or a temperature of 0."""
    return config.strategy == "greedy" or ("temperature" in config.settings and config.temperature == 0)


def random_numbers(seed: int) -> Iterator[float]:
    """Numbers in [0, 1) of a generator of its own, without end; drawn many at a time, as each call has its price."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.rand(64, generator=generator).tolist()


def choose(logits: Tensor, configs: Sequence[GenerationConfig], numbers: Sequence[Iterator[float]]) -> list[int]:
    """The next token of each row of logits (rows, vocab), on the CPU; -1 where nothing is left to choose from.

    Rows with equal settings are filtered together. Each takes one number from its own `random_numbers`, so that a
    sequence gets the same tokens whatever other sequences stand beside it.
    """
    groups: dict[tuple, list[int]] = defaultdict(list)
    for row, config in enumerate(configs):
        kind = "greedy" if is_greedy(config) else config.strategy
        groups[(kind, *(getattr(config, name) for name in config.settings))].append(row)
    tokens = [0] * len(configs)
    for (kind, *_), rows in groups.items():
        part = logits if len(rows) == len(configs) else logits[rows]
        if kind == "greedy":
            chosen = greedy(part)
        else:
            drawn = torch.tensor([next(numbers[row]) for row in rows])
            chosen = draw(filter_logits(part, configs[rows[0]]), drawn)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            tokens[row] = token
    return tokens


def greedy(logits: Tensor) -> Tensor:
    """The likeliest token of each row (rows, vocab), the first of those that tie; -1 where all are banned."""
    best = logits.max(dim=-1)
    return best.indices.masked_fill(best.values == float("-inf"), -1)


def draw(logits: Tensor, numbers: Tensor) -> Tensor:
    """One token of each row (rows, vocab) by inverting its distribution function at a number (rows,) in [0, 1).

    The sum runs in float64: in float32 the tail of a large vocabulary is lost in rounding. -1 where all are banned.
    """
    probabilities = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    sums = probabilities.cumsum(dim=-1, dtype=torch.float64)
    totals = sums[:, -1:]
    # The first token whose sum exceeds the number; a removed one has the sum of the token before it and is never first.
    # The numbers have 24 bits, so that one below 1 stays below the total when it is multiplied.
    tokens = torch.searchsorted(sums, numbers.double()[:, None] * totals, right=True)
    return tokens.masked_fill(totals.isnan(), -1)[:, 0]
