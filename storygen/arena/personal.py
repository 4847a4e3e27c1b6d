"""What one rater has said, and the ranking that follows from it alone."""

from dataclasses import dataclass

import numpy as np

from storygen.arena.ledger import REASONS, Ledger
from storygen.arena.ranking import Ranking, rank

ENOUGH_OF_ONES_OWN = 15
"""Votes from which a person has a ranking."""


@dataclass(frozen=True)
class OwnVote:
    """A vote as its rater may see it again."""

    prompt: str
    left: str
    right: str
    verdict: str


def own_votes(ledger: Ledger, rater: str, most: int = 200) -> list[OwnVote]:
    """The last votes of a rater that were not taken back, newest first."""
    rows = np.flatnonzero(_mask(ledger, rater))[::-1][:most]
    names, left, right = ledger.names(), ledger.column("left"), ledger.column("right")
    records = ((row, ledger.record(row)) for row in rows)
    return [
        OwnVote(record["prompt"]["title"], names[left[row]], names[right[row]], record["verdict"])
        for row, record in records
    ]


def count_own(ledger: Ledger, rater: str) -> int:
    """How many verdicts of a rater stand."""
    return int(_mask(ledger, rater).sum())


def own_ranking(ledger: Ledger, rater: str) -> Ranking | None:
    """The ranking by one rater's votes, none if there are too few. Their speed is their own affair."""
    told = [REASONS.index("counted"), REASONS.index("faster than reading")]
    mine = _mask(ledger, rater) & np.isin(ledger.reasons(), told)
    if mine.sum() < ENOUGH_OF_ONES_OWN:
        return None
    return rank(ledger.ballots(mine), enough=2)


def _mask(ledger: Ledger, rater: str) -> np.ndarray:
    if rater not in ledger.raters:
        return np.zeros(len(ledger), bool)
    mine = ledger.column("rater") == ledger.raters.index(rater)
    return mine & (ledger.reasons() != REASONS.index("taken back"))
