"""Raters whose votes look as if they were not read, not meant or not theirs. It names them; an owner decides."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storygen.arena.agreement import Share
from storygen.arena.ledger import REASONS, Ledger
from storygen.arena.ranking import CENTRE, rank
from storygen.arena.votes import VERDICTS
from storygen.errors import StorygenError

FEWEST = 10
"""Votes below which nothing is said about a rater."""
UNLIKELY = 3.9
"""Standard deviations from what chance gives: one honest rater in 10,000 is that far off."""
NOTES = 3
"""Times that the same note, of more than a few words, is written."""


@dataclass(frozen=True)
class Suspect:
    """A rater, and what is odd about the votes."""

    rater: str
    votes: int
    oddities: tuple[str, ...]


def audit(ledger: Ledger) -> list[Suspect]:
    """The suspicious raters, those with most votes first."""
    rater, verdict = ledger.column("rater"), ledger.column("verdict")
    reasons = ledger.reasons()
    left, right = ledger.column("left"), ledger.column("right")
    outcome, ballots = ledger.outcomes(), ledger.ballots(reasons == 0)
    strength = np.zeros(len(ballots.contestants))
    if len(ballots):
        rating = {row.name: row.rating - CENTRE for row in rank(ballots, replicates=2).standings}
        strength = np.array([rating[name] for name in ballots.contestants])
    favourite = np.sign(strength[left] - strength[right]) if len(ledger) else np.zeros(0)
    repeated = _by_rater(repeated_notes(ledger))
    suspects = []
    for number in np.flatnonzero(np.bincount(rater, minlength=1) >= FEWEST):
        rows = np.flatnonzero(rater == number)
        decided = rows[outcome[rows] != 0.5]
        oddities = [
            *_too_fast(reasons[rows]),
            *_one_verdict(verdict[rows]),
            *_one_side(outcome[decided]),
            *_against_all(np.sign(outcome[decided] - 0.5), favourite[decided]),
            *[f"wrote the note {text!r} {count} times" for text, count in repeated.get(int(number), {}).items()],
        ]
        if oddities:
            suspects.append(Suspect(ledger.raters[number], len(rows), tuple(oddities)))
    return sorted(suspects, key=lambda suspect: -suspect.votes)


def _too_fast(reasons: np.ndarray) -> list[str]:
    share = Share(int((reasons == REASONS.index("faster than reading")).sum()), len(reasons))
    return [f"{share.value:.0%} of the votes came faster than anybody reads"] if share.value > 0.5 else []


def _one_verdict(verdict: np.ndarray) -> list[str]:
    name = VERDICTS[verdict[0]]
    return [f"said {name} every time"] if (verdict == verdict[0]).all() and name != "skip" else []


def _one_side(outcome: np.ndarray) -> list[str]:
    if len(outcome) < FEWEST:
        return []
    left = outcome.sum()
    odd = abs(left - len(outcome) / 2) / math.sqrt(len(outcome) / 4)
    return [f"chose the left story {left / len(outcome):.0%} of the time"] if odd > UNLIKELY else []


def _against_all(choice: np.ndarray, favourite: np.ndarray) -> list[str]:
    known = favourite != 0
    games, with_others = known.sum(), (choice[known] == favourite[known]).sum()
    if games < FEWEST or (games / 2 - with_others) / math.sqrt(games / 4) < UNLIKELY:
        return []
    return [f"agrees with the ranking {with_others / games:.0%} of the time: less than a coin"]


@dataclass(frozen=True)
class RepeatedNote:
    """A note that was written several times, word for word but for case and spaces."""

    text: str
    """Its first sixty characters."""
    times: int
    raters: tuple[int, ...]
    """Who wrote it, as numbers of the ledger: many with a vote each may be one person with many names."""


def repeated_notes(ledger: Ledger) -> list[RepeatedNote]:
    """Notes of four words or more that were written three times or more, by whomever; the commonest first."""
    note, rater = ledger.column("note"), ledger.column("rater")
    found = []
    values, counts = np.unique(note[note != 0], return_counts=True)
    for value, count in zip(values[counts >= NOTES], counts[counts >= NOTES], strict=True):
        rows = np.flatnonzero(note == value)
        text = ledger.record(rows[0])["note"].strip()
        if len(text.split()) >= 4:
            found.append(RepeatedNote(text[:60], int(count), tuple(np.unique(rater[rows]).tolist())))
    return sorted(found, key=lambda each: -each.times)


def _by_rater(notes: list[RepeatedNote]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for note in notes:
        for rater in note.raters:
            found.setdefault(rater, {})[note.text] = note.times
    return found


def write_rules(path: Path, suspects: list[Suspect], day: str) -> int:
    """Adds the suspects that are not there yet to a rule file; how many that were. The owner keeps its versions."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        fresh = [suspect for suspect in suspects if _toml(suspect.rater) not in text]
        entries = [
            f"\n[[exclude]] # {day}\nrater = {_toml(each.rater)}\nreason = {_toml('; '.join(each.oddities))}\n"
            for each in fresh
        ]
        path.write_text(text + "".join(entries), encoding="utf-8")
    except OSError as error:
        raise StorygenError(f"{path} cannot be written: {error.strerror}") from None
    return len(fresh)


def _toml(text: str) -> str:
    """A TOML string. JSON's would do, but for its pairs of escapes beyond U+FFFF, and DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
