"""Who writes better: ratings from votes by the Bradley-Terry model, with intervals.

The chance that the left story wins is sigmoid(strength of its contestant - strength of the other + what the left side
gains [+ what being longer gains]). Strengths are fitted by penalised maximum likelihood (Bradley and Terry 1952; ties
as half a win for each, as in Chiang et al. 2024, section 4): every parameter has played two games against an average
opponent, one won and one lost, so none is infinite. Intervals come from a bootstrap over raters, as the votes of one
person hang together.

It knows arrays only: `ledger` makes them of votes.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CENTRE, SCALE = 1500.0, 400 / math.log(10)
"""A rating is CENTRE + SCALE * strength: 400 points are odds of ten to one, as in chess."""
ENOUGH = 30
"""Votes that a contestant needs to be ranked."""
REPLICATES = 200
LENGTH_BINS = 10
"""Bins of the length difference on either side of 0: votes alike in all else are counted together."""
Z95 = 1.96


@dataclass(frozen=True)
class Ballots:
    """Votes in columns of n, all that count and no other."""

    contestants: tuple[str, ...]
    """Names, to which `left` and `right` point."""
    left: np.ndarray
    right: np.ndarray
    outcome: np.ndarray
    """1 the left one won, 0 the right one, 0.5 neither."""
    rater: np.ndarray
    """Whole numbers from 0, one for each rater."""
    longer: np.ndarray
    """(characters of the left story - those of the right) / their sum, from -1 to 1."""

    def __len__(self) -> int:
        return len(self.left)

    def select(self, mask: np.ndarray) -> "Ballots":
        """The votes where `mask` is true."""
        columns = (column[mask] for column in (self.left, self.right, self.outcome, self.rater, self.longer))
        return Ballots(self.contestants, *columns)


@dataclass(frozen=True)
class Games:
    """Votes alike counted together, which is all that the fit needs: c cells."""

    left: np.ndarray
    right: np.ndarray
    longer: np.ndarray
    cell_of: np.ndarray = field(repr=False)
    """The cell of each vote (n)."""

    def count(self, ballots: Ballots, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Games in each cell, and wins of the left side, where a vote counts `weight` times (n): two arrays (c)."""
        weight = np.ones(len(ballots)) if weight is None else weight
        size = len(self.left)
        return (
            np.bincount(self.cell_of, weight, size),
            np.bincount(self.cell_of, weight * ballots.outcome, size),
        )


def group_games(ballots: Ballots, by_length: bool) -> Games:
    """The cells of the votes: left, right and, with `by_length`, the length difference to the nearest bin."""
    bins = np.rint(ballots.longer * LENGTH_BINS).astype(np.int64) if by_length else np.zeros(len(ballots), np.int64)
    count = len(ballots.contestants)
    keys = (ballots.left.astype(np.int64) * count + ballots.right) * (2 * LENGTH_BINS + 1) + bins + LENGTH_BINS
    cells, cell_of = np.unique(keys, return_inverse=True)
    pairs, bins = np.divmod(cells, 2 * LENGTH_BINS + 1)
    return Games(*np.divmod(pairs, count), (bins - LENGTH_BINS) / LENGTH_BINS, cell_of)


@dataclass(frozen=True)
class Design:
    """What decides a game, as a linear model: rows of cells (c), then of virtual games, columns of parameters (p)."""

    rows: np.ndarray
    features: np.ndarray
    """The parameters of each contestant (contestants, p): their sum is its strength."""
    by_length: bool

    @property
    def side(self) -> int:
        """The column of the left side's gain."""
        return -2 if self.by_length else -1


def design_for(games: Games, features: np.ndarray, by_length: bool) -> Design:
    """The linear model in which a contestant's strength is the sum of its `features` (contestants, parameters)."""
    extra = 2 if by_length else 1  # the left side, and length
    padded = np.hstack([features, np.zeros((len(features), extra))])
    rows = padded[games.left] - padded[games.right]
    rows[:, features.shape[1]] = 1
    if by_length:
        rows[:, -1] = games.longer
    return Design(np.vstack([rows, np.eye(padded.shape[1])]), padded, by_length)


def fit(design: Design, played: np.ndarray, won: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The parameters (p) of highest penalised likelihood, by Newton's method; `played` and `won` are per cell (c)."""
    parameters = design.rows.shape[1]
    played = np.concatenate([played, np.full(parameters, 2.0)])
    won = np.concatenate([won, np.ones(parameters)])
    beta = np.zeros(parameters) if start is None else start.copy()
    for _ in range(100):
        chance = sigmoid(design.rows @ beta)
        step = np.linalg.solve(_information(design, played, chance), design.rows.T @ (won - played * chance))
        beta += step * min(1.0, 2.0 / np.abs(step).max(initial=1e-9))  # a full step may overshoot far from the top
        if np.abs(step).max() < 1e-9:
            break
    return beta


def covariance(design: Design, played: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Of the parameters (p, p), if all votes were independent: the inverse of the information."""
    played = np.concatenate([played, np.full(design.rows.shape[1], 2.0)])
    return np.linalg.inv(_information(design, played, sigmoid(design.rows @ beta)))


def _information(design: Design, played: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Minus the second derivative of the log-likelihood (p, p)."""
    return design.rows.T @ (design.rows * (played * chance * (1 - chance))[:, None])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The chance that goes with odds of e to the x."""
    return 1 / (1 + np.exp(-x))


@dataclass(frozen=True)
class Standing:
    """A row of the leaderboard."""

    name: str
    rating: float
    low: float
    high: float
    votes: int
    won: float
    """Share of its games that it won, ties as half."""
    group: int
    """Contestants in different groups have not met, not even through others: their ratings do not compare."""
    rank: int | None
    """By `low` within the group; None if there are not enough votes."""


@dataclass(frozen=True)
class Ranking:
    """Standings, and what the fit says about the raters."""

    standings: tuple[Standing, ...]
    left_side: tuple[float, float, float]
    """Chance of the left one of two equal stories to win, and its 95 % interval: 0.5 is fair."""
    longer: tuple[float, float, float] | None
    """Chance of a story to win against an equal one of half its length, and its 95 % interval."""
    votes: int
    raters: int


def rank(ballots: Ballots, **settings: Any) -> Ranking:
    """The ranking of the contestants, best first; the settings are those of `rank_parts`."""
    return rank_parts(ballots, [ballots.contestants], **settings)[0]


def rank_parts(
    ballots: Ballots,
    factors: Sequence[Sequence[str]],
    *,
    by_length: bool = False,
    replicates: int = REPLICATES,
    seed: int = 0,
    enough: int = ENOUGH,
) -> list[Ranking]:
    """A ranking for each factor that contestants are made of, with all factors fitted at once.

    A factor names for each contestant its part, for instance its model. A contestant's strength is the sum of what its
    parts add, so a model is not blamed for the company it came in. A single factor that names the contestants
    themselves gives each a strength of its own. With `by_length` the gain of the longer story is fitted too.
    """
    names = [sorted(set(factor)) for factor in factors]
    blocks = [
        np.array([[float(part == name) for name in known] for part in factor]).reshape(len(factor), len(known))
        for factor, known in zip(factors, names, strict=True)
    ]
    games = group_games(ballots, by_length)
    design = design_for(games, np.hstack(blocks), by_length)
    played, won = games.count(ballots)
    beta = fit(design, played, won)
    # Votes tell differences only, so strengths and their errors are those against the average of the group.
    contrasts, first = np.eye(len(beta)), 0
    groups = [_groups(ballots, block) for block in blocks]
    for group in groups:
        parts = slice(first, first + len(group))
        same = np.equal.outer(group, group)
        contrasts[parts, parts] -= same / same.sum(axis=1, keepdims=True)
        first += len(group)
    errors = _errors(design, ballots, games, beta, contrasts, replicates, seed)
    strengths = contrasts @ beta
    side = _chance(beta[design.side], errors[design.side])
    # Of two stories, one twice as long as the other, the longer has (2 - 1) / (2 + 1) more.
    longer = _chance(beta[-1] / 3, errors[-1] / 3) if by_length else None
    rankings, first = [], 0
    for known, block, group in zip(names, blocks, groups, strict=True):
        parts = slice(first, first + len(known))
        standings = _standings(known, strengths[parts], errors[parts], *_totals(ballots, block), group, enough)
        rankings.append(Ranking(standings, side, longer, len(ballots), len(np.unique(ballots.rater))))
        first += len(known)
    return rankings


def _standings(
    names: Sequence[str],
    strengths: np.ndarray,
    errors: np.ndarray,
    met: np.ndarray,
    gained: np.ndarray,
    groups: Sequence[int],
    enough: int,
) -> tuple[Standing, ...]:
    """The table: by group, then by lower bound, those without enough votes last."""
    order = sorted(range(len(names)), key=lambda i: (groups[i], met[i] < enough, Z95 * errors[i] - strengths[i]))
    places: Counter[int] = Counter()
    standings = []
    for i in order:
        places[groups[i]] += 1
        rating, low, high = (float(CENTRE + SCALE * (strengths[i] + z * errors[i])) for z in (0, -Z95, Z95))
        won = float(gained[i] / met[i]) if met[i] else 0.5
        place = places[groups[i]] if met[i] >= enough else None
        standings.append(Standing(names[i], rating, low, high, int(met[i]), won, groups[i], place))
    return tuple(standings)


def _errors(
    design: Design,
    ballots: Ballots,
    games: Games,
    beta: np.ndarray,
    contrasts: np.ndarray,
    replicates: int,
    seed: int,
) -> np.ndarray:
    """Standard error of each contrast (p): of a bootstrap over raters, but no less than if votes were independent.

    With few raters the bootstrap sees too little variation (with a single one, none), so its errors are widened from
    the normal to Student's distribution (the first term of its expansion) with as many degrees of freedom as there are
    raters of equal weight, less one (Kish's effective number).
    """
    independent = contrasts @ covariance(design, games.count(ballots)[0], beta) @ contrasts.T
    independent = np.sqrt(np.diag(independent))
    if not len(ballots):
        return independent
    rng = np.random.default_rng(seed)
    raters, rater_of = np.unique(ballots.rater, return_inverse=True)
    samples = np.empty((replicates, len(beta)))
    for replicate in range(replicates):
        times = np.bincount(rng.integers(len(raters), size=len(raters)), minlength=len(raters))
        samples[replicate] = fit(design, *games.count(ballots, times[rater_of].astype(float)), start=beta)
    votes_each = np.bincount(rater_of)
    freedom = max(votes_each.sum() ** 2 / (votes_each**2).sum() - 1, 1)
    widening = 1 + (Z95**2 + 1) / (4 * freedom)
    return np.maximum((samples @ contrasts.T).std(axis=0, ddof=1) * widening, independent)


def _chance(logit: float, error: float) -> tuple[float, float, float]:
    return tuple(float(sigmoid(np.float64(logit + z * error))) for z in (0, -Z95, Z95))


def _totals(ballots: Ballots, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Games of each part, and its wins, ties as half; a game of a part against itself is none."""
    met, gained = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    pairs, index = np.unique(ballots.left.astype(np.int64) * len(features) + ballots.right, return_inverse=True)
    counts, wins = np.bincount(index), np.bincount(index, ballots.outcome)
    for left, right, count, won in zip(*np.divmod(pairs, len(features)), counts, wins, strict=True):
        differs = features[left] != features[right]
        met += count * differs * (features[left] + features[right])
        gained += differs * (won * features[left] + (count - won) * features[right])
    return met, gained


def _groups(ballots: Ballots, features: np.ndarray) -> list[int]:
    """For each part the number of its group: parts that games connect are in one, the largest group is 0."""
    parts = features.shape[1]
    parent = list(range(parts))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    pairs = np.unique(np.stack([ballots.left, ballots.right], axis=1), axis=0) if len(ballots) else ()
    for left, right in pairs:
        gains, loses = (np.flatnonzero(features[a] > features[b]) for a, b in ((left, right), (right, left)))
        members = [*gains, *loses]
        for other in members[1:]:
            parent[root(other)] = root(members[0])
    roots = [root(i) for i in range(parts)]
    by_size = sorted(set(roots), key=lambda r: (-roots.count(r), r))
    return [by_size.index(r) for r in roots]


def win_matrix(ballots: Ballots) -> tuple[np.ndarray, np.ndarray]:
    """Share of games that the row's contestant won against the column's (NaN if none), and the number of games."""
    size = len(ballots.contestants)
    won, played = np.zeros((size, size)), np.zeros((size, size))
    np.add.at(played, (ballots.left, ballots.right), 1)
    np.add.at(won, (ballots.left, ballots.right), ballots.outcome)
    won, played = won + (played - won).T, played + played.T
    with np.errstate(invalid="ignore"):
        return won / played, played


def votes_to_separate(ballots: Ballots, first: int, second: int, seed: int = 0, most: int = 100_000) -> int | None:
    """About how many more games between two contestants would tell them apart: None if more than `most`.

    By simulation: games are drawn with the strengths fitted so far, sides at random, until in four of five trials the
    95 % interval of the difference leaves out 0 (independent votes assumed).
    """
    games = group_games(ballots, False)
    features = np.eye(len(ballots.contestants))
    columns = ((games.left, [first, second]), (games.right, [second, first]), (games.longer, [0.0, 0.0]))
    with_both = Games(*(np.concatenate(column) for column in columns), games.cell_of)
    design = design_for(with_both, features, False)
    played, won = (np.concatenate([column, np.zeros(2)]) for column in games.count(ballots))
    beta = fit(design, played, won)
    chance = sigmoid(design.rows[len(played) - 2 : len(played)] @ beta)
    contrast = design.features[first] - design.features[second]
    rng = np.random.default_rng(seed)

    def is_enough(count: int) -> bool:
        clear = 0
        for _ in range(20):
            more = np.zeros(len(played))
            more[-2:] = rng.multinomial(count, [0.5, 0.5])
            drawn = np.zeros(len(played))
            drawn[-2:] = rng.binomial(more[-2:].astype(int), chance)
            sample = fit(design, played + more, won + drawn, start=beta)
            variance = contrast @ covariance(design, played + more, sample) @ contrast
            clear += abs(contrast @ sample) > Z95 * math.sqrt(variance)
        return clear >= 16

    count = 10
    while count <= most:
        if is_enough(count):
            return count
        count = math.ceil(count * 1.3)
    return None
