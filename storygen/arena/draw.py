"""Which two contestants meet next: those with few votes and those close to each other more often."""

import itertools
import math
import random
from collections.abc import Callable, Sequence

from storygen.arena.contestants import Contestant

FARTHEST = 0.1
"""How often, against the closest pairs, the farthest are drawn: a hopeless pair still holds the table together."""

Form = Callable[[Contestant], tuple[int, float]]
"""Votes and strength (in logits) of a contestant so far."""


def draw_pair(contestants: Sequence[Contestant], form: Form, rng: random.Random) -> tuple[Contestant, Contestant]:
    """Two different contestants, sides by coin flip.

    A pair's weight is the sum of 1 / sqrt(1 + votes) of both, what a further vote takes off their errors, times the
    variance of its outcome, 4 p (1 - p), which is 1 when nobody knows who will win.
    """
    forms = [(contestant, *form(contestant)) for contestant in contestants]
    pairs, weights = [], []
    for (contestant, votes, strength), (opponent, other_votes, other) in itertools.combinations(forms, 2):
        chance = 1 / (1 + math.exp(min(50.0, abs(strength - other))))
        need = 1 / math.sqrt(1 + votes) + 1 / math.sqrt(1 + other_votes)
        pairs.append((contestant, opponent))
        weights.append(need * max(4 * chance * (1 - chance), FARTHEST))
    [pair] = rng.choices(pairs, weights)
    return pair if rng.random() < 0.5 else pair[::-1]
