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


@dataclass(frozen=True)
class Opinions:
    """What raters said of pairs of texts, in columns of n."""

    match: np.ndarray
    """The same number for the same two texts, whatever their sides."""
    rater: np.ndarray
    said: np.ndarray
    """The outcome for the text that sorts first: 1 a win, 0 a loss, 0.5 neither."""


def opinions(ledger: Ledger, reasons: np.ndarray) -> Opinions:
    """Those of the votes that count or were asked again; `reasons` are the ledger's."""
    kept = np.isin(reasons, [REASONS.index("counted"), REASONS.index("shown again to test the rater")])
    match, rater, first = (ledger.column(name)[kept] for name in ("match", "rater", "left_first"))
    outcome = ledger.outcomes()[kept]
    return Opinions(match, rater, np.where(first != 0, outcome, 1 - outcome))


def self_agreement(opinions: Opinions) -> Share:
    """How often a rater who saw two stories twice preferred the same one, or neither both times."""
    return _agreement(opinions, within=True)


def mutual_agreement(opinions: Opinions) -> Share:
    """How often two raters of the same two stories preferred the same one, or neither."""
    return _agreement(opinions, within=False)


def _agreement(opinions: Opinions, within: bool) -> Share:
    """Over all pairs of votes on the same two stories by the same rater (`within`) or by different ones."""
    order = np.argsort(opinions.match, kind="stable")
    match, rater, outcome = opinions.match[order], opinions.rater[order], opinions.said[order]
    starts = np.flatnonzero(np.r_[True, match[1:] != match[:-1]]) if len(match) else np.array([], int)
    sizes = np.diff(np.r_[starts, len(match)])
    yes = of = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        who, said = rater[start : start + size], outcome[start : start + size]
        pairs = np.triu(np.ones((size, size), bool), 1) & ((who[:, None] == who) == within)
        of += int(pairs.sum())
        yes += int((pairs & (said[:, None] == said)).sum())
    return Share(yes, of)
