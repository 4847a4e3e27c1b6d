"""The leaderboard: all that the votes say so far, computed when asked for and kept until there are more of them."""

import threading
from dataclasses import dataclass
from datetime import date

import numpy as np

from storygen.arena.agreement import Share, mutual_agreement, opinions, self_agreement
from storygen.arena.ledger import REASONS, Entrant, Ledger
from storygen.arena.ranking import CENTRE, SCALE, Ranking, Standing, rank, rank_parts, votes_to_separate, win_matrix


@dataclass(frozen=True)
class Board:
    """The leaderboard at one moment."""

    contestants: Ranking
    models: Ranking
    decodings: Ranking
    wins: np.ndarray
    """Share of games that the row's contestant won against the column's, NaN if none, in the order of `names`."""
    games: np.ndarray
    names: tuple[str, ...]
    by_day: dict[date, int]
    """Votes of each day, counted or not."""
    votes: int
    reasons: dict[str, int]
    """How many votes do not count, by reason."""
    likelihood: dict[str, float]
    """Mean log-probability per byte of each contestant's stories under its own model, in nats."""
    with_itself: Share
    with_others: Share
    damaged: int
    """Lines that could not be read."""
    to_separate: int | None
    """About how many more games between the first two would tell them apart; None if too many to say, or no two."""


def make_board(ledger: Ledger, by_length: bool = False) -> Board:
    """The board of all votes that the ledger has; with `by_length` what longer stories gain is taken out."""
    with ledger.lock:  # all of one moment; new votes may come while the rest is worked out
        reasons = ledger.reasons()
        ballots, said, days = ledger.ballots(reasons == 0), opinions(ledger, reasons), ledger.column("day")
        factors, likelihood = [ledger.models(), ledger.decodings()], ledger.likelihood()
        damaged = ledger.reader.damaged.total() + ledger.refused.total()
    contestants = rank(ballots, by_length=by_length)
    models, decodings = rank_parts(ballots, factors, by_length=by_length)
    pair = [ballots.contestants.index(row.name) for row in leaders(contestants)]
    wins, games = win_matrix(ballots)
    named = zip(ballots.contestants, likelihood, strict=True)
    days, counts = np.unique(days, return_counts=True)
    return Board(
        contestants=contestants,
        models=models,
        decodings=decodings,
        wins=wins,
        games=games,
        names=ballots.contestants,
        by_day={date.fromordinal(int(day)): int(count) for day, count in zip(days, counts, strict=True)},
        votes=len(reasons),
        reasons={REASONS[number]: int((reasons == number).sum()) for number in np.unique(reasons) if number},
        likelihood={name: value for name, value in named if value is not None},
        with_itself=self_agreement(said),
        with_others=mutual_agreement(said),
        damaged=damaged,
        to_separate=votes_to_separate(ballots, *pair) if pair else None,
    )


def leaders(ranking: Ranking) -> tuple[Standing, ...]:
    """The first two of those who have met; nobody if fewer are ranked."""
    ranked = tuple(row for row in ranking.standings if row.rank is not None and row.group == 0)
    return ranked[:2] if len(ranked) > 1 else ()


class LiveBoard:
    """The board of a ledger, made again only when votes have come."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._board: Board | None = None
        self._made_of = 0
        self._lock = threading.Lock()

    def latest(self) -> Board:
        """The board of all votes that are on disk now."""
        with self._lock:
            self.ledger.refresh()
            if self._board is None or self._made_of < self.ledger.records:
                records = self.ledger.records
                self._board, self._made_of = make_board(self.ledger), records
            return self._board

    def form(self) -> dict[Entrant, tuple[int, float]]:
        """Votes and strength, in logits, of each contestant, as the last board has them."""
        if self._board is None:
            return {}
        rows = {row.name: (row.votes, (row.rating - CENTRE) / SCALE) for row in self._board.contestants.standings}
        return {entrant: rows[name] for entrant, name in zip(self.ledger.entrants, self._board.names, strict=False)}
