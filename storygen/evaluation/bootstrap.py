"""How sure a figure is: intervals and differences by drawing the stories again (Efron 1979; paired: Koehn 2004)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from storygen.errors import StorygenError
from storygen.evaluation.likelihood import Likelihood

REPLICATES, SEED = 1000, 0
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Of two models on the same stories."""

    value: float
    """Bits per byte of the first less those of the second: below 0 the first is better."""
    low: float
    high: float
    p: float
    """Twice the share of resamples in which the difference has the other sign, or is none; at least one of them."""

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def resampled_sums(columns: Sequence[np.ndarray], replicates: int = REPLICATES, seed: int = SEED) -> np.ndarray:
    """Sums of the columns (k arrays of n) over n stories drawn with replacement, again and again: (replicates, k).

    The draws depend on n and the seed alone, so sums of different models on the same stories are paired.
    """
    table = np.stack(columns, axis=1).astype(float)  # (n, k)
    draw = np.random.default_rng(seed)
    sums = np.empty((replicates, len(columns)))
    for replicate in range(replicates):
        times = np.bincount(draw.integers(len(table), size=len(table)), minlength=len(table))
        sums[replicate] = times @ table
    return sums


def interval(measured: Likelihood, replicates: int = REPLICATES, seed: int = SEED) -> tuple[float, float] | None:
    """Percentiles that hold 95 % of the resampled bits per byte; None of a single story, which tells nothing."""
    if len(measured.story_nats) < 2:
        return None
    return _percentiles(_bits(measured, replicates, seed))


def difference(
    first: Likelihood, second: Likelihood, replicates: int = REPLICATES, seed: int = SEED
) -> Difference | None:
    """Of bits per byte, by a paired bootstrap: the same stories are drawn for both. None of a single story."""
    if not np.array_equal(first.story_bytes, second.story_bytes):
        raise StorygenError("two models can be compared on the same stories only")
    if len(first.story_nats) < 2:
        return None
    value = first.bits_per_byte - second.bits_per_byte
    drawn = _bits(first, replicates, seed) - _bits(second, replicates, seed)
    other = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Difference(value, *_percentiles(drawn), p=float(min(1.0, max(2 * other, 1 / replicates))))


def _bits(measured: Likelihood, replicates: int, seed: int) -> np.ndarray:
    """Bits per byte of each resample (replicates,)."""
    nats, size = resampled_sums([measured.story_nats, measured.story_bytes], replicates, seed).T
    return nats / np.maximum(size, 1) / math.log(2)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
