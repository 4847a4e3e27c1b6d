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
    rows = np.flatnonzero(_standing(ledger, rater, ledger.reasons()))[::-1][:most]
    names, left, right = ledger.names(), ledger.column("left"), ledger.column("right")
    records = ((row, ledger.record(row)) for row in rows)
    return [
        OwnVote(record["prompt"]["title"], names[left[row]], names[right[row]], record["verdict"])
        for row, record in records
    ]


def count_own(ledger: Ledger, rater: str) -> int:
    """How many verdicts of a rater stand."""
    return int(_standing(ledger, rater, ledger.reasons()).sum())


def own_ranking(ledger: Ledger, rater: str) -> Ranking | None:
    """The ranking by one rater's votes, none if there are too few. Their speed is their own affair."""
    told = [REASONS.index("counted"), REASONS.index("faster than reading")]
    reasons = ledger.reasons()
    mine = _standing(ledger, rater, reasons) & np.isin(reasons, told)
    mine &= ledger.column("repeat")[: len(reasons)] == 0
    if mine.sum() < ENOUGH_OF_ONES_OWN:
        return None
    return rank(ledger.ballots(mine), enough=2)


def _standing(ledger: Ledger, rater: str, reasons: np.ndarray) -> np.ndarray:
    """A mask of the rater's votes that were not taken back."""
    if rater not in ledger.raters:
        return np.zeros(len(reasons), bool)
    mine = ledger.column("rater")[: len(reasons)] == ledger.raters.index(rater)
    return mine & (reasons != REASONS.index("taken back"))
