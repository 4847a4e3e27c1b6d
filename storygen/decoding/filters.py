"""Filters from logits to logits: what a strategy removes or reshapes before a token is drawn.

Each takes logits (..., vocab) and one setting, and returns new logits in which the removed tokens are -inf.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from storygen.config import GenerationConfig

REMOVED = float("-inf")


def temperature(logits: Tensor, t: float) -> Tensor:
    """Logits divided by t > 0: the distribution sharpens below 1 and flattens above (Ackley et al. 1985).

    The largest is moved to 0 first, so that no t, however small, makes it infinite.
    """
    return ((logits - logits.amax(dim=-1, keepdim=True)).double() / t).to(logits.dtype)


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps exactly the k largest logits of each row; ties beyond k are cut by index (Fan et al. 2018).

    `transformers` keeps all tokens that tie with the k-th.
    """
    if k >= logits.shape[-1]:
        return logits
    kth = logits.topk(k, dim=-1).values[..., -1:]
    above, tied = logits > kth, logits == kth
    room = k - above.sum(dim=-1, keepdim=True)
    return logits.masked_fill(~(above | (tied & (tied.cumsum(dim=-1) <= room))), REMOVED)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keeps the smallest set of likeliest tokens whose probability reaches p, and always one (Holtzman et al. 2020).

    A token stays while the mass before it is below p, so the one that crosses the boundary stays; ties go by index.
    """
    if p >= 1.0:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.double().softmax(dim=-1)  # float64: the sum of a whole vocabulary decides at a boundary
    before = probabilities.cumsum(dim=-1) - probabilities
    removed = before >= p
    removed[..., 0] = False
    return logits.masked_fill(torch.zeros_like(removed).scatter(-1, order, removed), REMOVED)


FILTERS: dict[str, Callable[[Tensor, float], Tensor]] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
"""Setting of `GenerationConfig` -> the filter that it drives."""


def filter_logits(logits: Tensor, config: GenerationConfig) -> Tensor:
    """The logits after the filters of the chosen strategy, in the order in which `STRATEGIES` lists them."""
    for name in config.settings:
        if name in FILTERS:
            logits = FILTERS[name](logits, getattr(config, name))
    return logits


def is_greedy(config: GenerationConfig) -> bool:
    """Whether the strategy always takes the likeliest token: greedy, or a temperature of 0."""
    return config.strategy == "greedy" or ("temperature" in config.settings and config.temperature == 0)


def choose(logits: Tensor, config: GenerationConfig, generator: torch.Generator) -> int:
    """The next token id, drawn from the filtered distribution of one row of logits (vocab,).

    It is drawn on the CPU with the sequence's own generator, so the device and the other sequences don't matter.
    """
    logits = logits.float().cpu()
    if is_greedy(config):
        return int(logits.argmax())
    probabilities = filter_logits(logits, config).softmax(dim=-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
