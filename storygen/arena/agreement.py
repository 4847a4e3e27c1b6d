"""Whether raters agree: with themselves, when they see two stories again with sides changed, and with each other."""

from dataclasses import dataclass

import numpy as np

from storygen.arena.ledger import OUTCOMES, REASONS, Ledger
from storygen.arena.votes import VERDICTS


@dataclass(frozen=True)
class Share:
    """How often something was so."""

    yes: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.yes / self.of if self.of else float("nan")


def opinions(ledger: Ledger) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all votes that count or were asked again: match, rater, and the outcome for the text that sorts first."""
    reasons = ledger.reasons()
    kept = np.isin(reasons, [REASONS.index("counted"), REASONS.index("shown again to test the rater")])
    match, rater, verdict, first = (ledger.column(name)[kept] for name in ("match", "rater", "verdict", "left_first"))
    outcome = np.array([OUTCOMES[name] for name in VERDICTS])[verdict]
    return match, rater, np.where(first != 0, outcome, 1 - outcome)


def self_agreement(ledger: Ledger) -> Share:
    """How often a rater who saw two stories twice preferred the same one, or neither both times."""
    return _agreement(*opinions(ledger), within=True)


def mutual_agreement(ledger: Ledger) -> Share:
    """How often two raters of the same two stories preferred the same one, or neither."""
    return _agreement(*opinions(ledger), within=False)


def _agreement(match: np.ndarray, rater: np.ndarray, outcome: np.ndarray, within: bool) -> Share:
    """Over all pairs of votes on the same two stories by the same rater (`within`) or by different ones."""
    order = np.argsort(match, kind="stable")
    match, rater, outcome = match[order], rater[order], outcome[order]
    starts = np.flatnonzero(np.r_[True, match[1:] != match[:-1]]) if len(match) else np.array([], int)
    sizes = np.diff(np.r_[starts, len(match)])
    yes = of = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        who, said = rater[start : start + size], outcome[start : start + size]
        pairs = np.triu(np.ones((size, size), bool), 1) & ((who[:, None] == who) == within)
        of += int(pairs.sum())
        yes += int((pairs & (said[:, None] == said)).sum())
    return Share(yes, of)
