import random

import numpy as np
import pytest

from storygen.arena.reliability import PRIOR, START, estimate, reliability
from tests.arena.records import side, vote
from tests.arena.test_ledger import ledger_of


def votes_of(chances, pairs, seed=0):
    """Columns of votes in which each rater names the better of two stories with a chance of their own."""
    draw = np.random.default_rng(seed)
    better = draw.random(pairs) < 0.5
    match = np.repeat(np.arange(pairs), 3)
    rater = np.concatenate([draw.choice(len(chances), 3, replace=False) for _ in range(pairs)])
    right = draw.random(len(match)) < np.array(chances)[rater]
    return match, rater, (better[match] == right).astype(float)


def test_the_chances_are_found():
    """Raters of known reliability, three to a pair, some of whom toss a coin."""
    chances = [0.5] * 3 + [0.7] * 5 + [0.9] * 12
    found = estimate(*votes_of(chances, 4000), len(chances))
    assert np.abs(found - chances).max() < 0.04


def test_a_vote_that_stands_alone_says_nothing():
    """Counted, it would make every rater right by their own word."""
    found = estimate(np.arange(20), np.zeros(20, int), np.ones(20), 2)
    assert found.tolist() == [START, START]


def test_few_votes_move_a_rater_little():
    match, rater, first = votes_of([0.9] * 10, 2000)
    contrary = np.append(rater, 10), np.append(first, 1 - np.round(first[:3].mean()))
    found = estimate(np.append(match, 0), *contrary, 12)
    assert found[11] == pytest.approx(found[:10].mean(), abs=0.02)  # who never voted is like the others
    assert found[10] == pytest.approx(found[11] * PRIOR / (PRIOR + 1), abs=0.05)  # one vote against all


def test_votes_are_compared_by_text_and_not_by_side(tmp_path):
    draw, votes = random.Random(0), []
    for number in range(60):
        good, bad = side(text=f"Good {number}."), side("lstm", text=f"Bad {number}.")
        for rater in ("ann", "ben", "cem", "coin"):
            left, right = (good, bad) if draw.random() < 0.5 else (bad, good)
            likes = draw.choice([good, bad]) if rater == "coin" else good
            votes.append(vote("left" if left is likes else "right", rater, left, right))
    votes += [vote("tie", "ann", side(text=f"Good {n}."), side("lstm", text=f"Bad {n}.")) for n in range(9)]
    found = reliability(ledger_of(tmp_path, *votes))
    assert min(found[name] for name in ("ann", "ben", "cem")) > 0.95
    assert found["coin"] < 0.65
