"""How far each rater can be relied on: the chance that a verdict is what raters at large think of the two stories.

The one-coin model of Dawid and Skene (1979): each pair of stories has one that is better, and a rater names it with a
chance of their own. Both are estimated in turn, from pairs that several raters have judged; a rater whose votes stand
alone is as reliable as raters are on average.
"""

import numpy as np

from storygen.arena.agreement import opinions
from storygen.arena.ledger import Ledger
from storygen.arena.ranking import sigmoid

PRIOR = 10.0
"""Votes that a rater is given beforehand, as good as the average rater's."""
ROUNDS = 50
START = 0.75


def reliability(ledger: Ledger) -> dict[str, float]:
    """For each rater that chance, from 0.5, a coin, to 1."""
    found = opinions(ledger, ledger.reasons())
    decided = found.said != 0.5
    chances = estimate(found.match[decided], found.rater[decided], found.said[decided], len(ledger.raters))
    return dict(zip(ledger.raters, chances.tolist(), strict=True))


def estimate(match: np.ndarray, rater: np.ndarray, first: np.ndarray, raters: int) -> np.ndarray:
    """The chances (raters,) from votes in columns: the pair, the rater, and 1 if the vote is for the first, else 0.

    Expectation and maximisation by turns. A pair with one vote says nothing of anybody and is left out.
    """
    _, pair, votes = np.unique(match, return_inverse=True, return_counts=True)
    shared = votes[pair] > 1
    pair, rater, said = pair[shared], rater[shared], np.where(first[shared] > 0.5, 1.0, -1.0)
    chance = np.full(raters, START)
    if not len(pair):
        return chance
    for _ in range(ROUNDS):
        evidence = np.bincount(pair, said * np.log(chance / (1 - chance))[rater])[pair]
        right = sigmoid(said * evidence)  # the chance of each vote to be right
        sums = np.bincount(rater, right, raters) + PRIOR * right.mean()
        chance = np.clip(sums / (np.bincount(rater, minlength=raters) + PRIOR), 0.5, 0.99)
    return chance
