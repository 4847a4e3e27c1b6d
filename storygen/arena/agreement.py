"""Whether raters agree: with themselves, when they see two stories again with sides changed, and with each other."""

from dataclasses import dataclass

import numpy as np

from storygen.arena.ledger import REASONS, Ledger


@dataclass(frozen=True)
class Share:
    """How often something was so."""

    yes: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.yes / self.of if self.of else float("nan")


def agreement(ledger: Ledger, reasons: np.ndarray) -> tuple[Share, Share]:
    """How often raters agree with themselves, and with others; of votes that count or were asked again.

    With themselves: a rater who saw two stories twice preferred the same one, or neither both times. With others: two
    raters of the same two stories did. `reasons` are those of the ledger.
    """
    kept = np.isin(reasons, [REASONS.index("counted"), REASONS.index("shown again to test the rater")])
    match, rater, first = (ledger.column(name)[kept] for name in ("match", "rater", "left_first"))
    outcome = ledger.outcomes()[kept]
    said = np.where(first != 0, outcome, 1 - outcome)  # of the text that sorts first, on whatever side it was
    return _agreement(match, rater, said, within=True), _agreement(match, rater, said, within=False)


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
