"""All votes in columns, so that a million of them can be ranked again and again. New ones are added as they come."""

import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from storygen.arena.contestants import SET_BY_BATTLE, describe_decoding
from storygen.arena.ranking import Ballots
from storygen.arena.record import MODES, check_stars, check_vote, config_of
from storygen.arena.rules import Rules, load_rules
from storygen.arena.votes import VERDICTS, Place, VoteReader, hash_of
from storygen.errors import StorygenError

_OUTCOMES = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5, "skip": 0.5}
_COLUMNS = {
    "left": "i", "right": "i", "verdict": "b", "mode": "b", "rater": "i", "longer": "f", "words": "i", "dwell": "i",
    "day": "i", "match": "q", "left_first": "b", "repeat": "b", "again": "b", "note": "q", "file": "i", "offset": "q",
}  # fmt: skip
_NO_SETTINGS = dict.fromkeys(SET_BY_BATTLE)


@dataclass(frozen=True)
class Entrant:
    """A contestant as votes name it: a model at one revision with one way of decoding."""

    model: str
    revision: str
    decoding: str


class Ledger:
    """What `reader` finds, in columns."""

    def __init__(self, reader: VoteReader, rules: Rules | None = None) -> None:
        self.reader, self.rules = reader, rules or Rules()
        self.entrants: list[Entrant] = []
        self.raters: list[str] = []
        self.refused: Counter[str] = Counter()
        """Records that are no votes, by reason."""
        self.records = 0
        """How many records were read, votes and others."""
        self._columns = {name: array(code) for name, code in _COLUMNS.items()}
        self._known: dict[Any, Entrant] = {}
        self._numbers: dict[Entrant, int] = {}
        self._rater_numbers: dict[str, int] = {}
        self._rows: dict[int, int] = {}
        self._battles: set[int] = set()
        self._retracted: set[int] = set()
        self._likelihood: list[list[float]] = []
        self._stars = array("q")  # rater, file, offset of each
        self.lock = threading.RLock()
        """Held while records are taken in; who needs several things of one moment holds it too."""

    def __len__(self) -> int:
        return len(self._columns["left"])

    def refresh(self) -> int:
        """Takes in what is new; how many records that were."""
        count = 0
        with self.lock:
            for record, place in self.reader.new():
                count += 1
                self.records += 1
                try:
                    self._add(record, place)
                except StorygenError:
                    self.refused["not a vote as docs/ratings.md has it"] += 1
        return count

    def _add(self, record: dict[str, Any], place: Place) -> None:
        """Takes in a record whole, or StorygenError leaves everything as it was."""
        if "retracts" in record:
            self._retracted.add(hash_of(str(record["retracts"])))
            return
        if "stars" in record:  # of single stories: they are kept for others and are not ranked here
            check_stars(record)
            self._stars.extend((self._rater(record["rater"]), place.file, place.offset))
            return
        check_vote(record)
        left, right, key = record["left"], record["right"], hash_of(record["id"])
        entrants = [self._entrant(side) for side in (left, right)]
        battle, size = hash_of(record["battle_id"]), len(left["text"]) + len(right["text"])
        row = {
            "verdict": VERDICTS.index(record["verdict"]),
            "mode": MODES.index(record.get("mode", "blind")),
            "left": self._number(entrants[0]),
            "right": self._number(entrants[1]),
            "rater": self._rater(record["rater"]),
            "longer": (len(left["text"]) - len(right["text"])) / max(size, 1),
            "words": len(left["text"].split()) + len(right["text"].split()),
            "dwell": max(0, min(record["dwell_ms"], 2**31 - 1)),
            "day": date.fromisoformat(record["ts"][:10]).toordinal(),
            "match": hash_of("\0".join(sorted((left["text"], right["text"])))),
            "left_first": left["text"] <= right["text"],
            "repeat": bool(record.get("repeat_of")),
            "again": battle in self._battles,
            "note": hash_of(note) if (note := " ".join(record.get("note", "").lower().split())) else 0,
            "file": place.file,
            "offset": place.offset,
        }
        for side, number in ((left, row["left"]), (right, row["right"])):
            self._likelihood[number][0] += side["logprob"]
            self._likelihood[number][1] += side["bytes"]
        self._battles.add(battle)
        self._rows[key] = len(self)
        for name, column in self._columns.items():
            column.append(row[name])

    def _entrant(self, side: dict[str, Any]) -> Entrant:
        """The contestant that wrote a side; checking settings takes long, so those that were seen are remembered."""
        key = (side["model"], side["revision"], orjson.dumps({**side["config"], **_NO_SETTINGS}))
        if key not in self._known:
            self._known[key] = Entrant(side["model"], side["revision"], describe_decoding(config_of(side)))
        return self._known[key]

    def _number(self, entrant: Entrant) -> int:
        if entrant not in self._numbers:
            self._numbers[entrant] = len(self.entrants)
            self.entrants.append(entrant)
            self._likelihood.append([0.0, 0])
        return self._numbers[entrant]

    def _rater(self, name: str) -> int:
        if name not in self._rater_numbers:
            self._rater_numbers[name] = len(self.raters)
            self.raters.append(name)
        return self._rater_numbers[name]

    def column(self, name: str) -> np.ndarray:
        """A copy of one column, one value for each vote."""
        with self.lock:
            return np.array(self._columns[name])

    def outcomes(self) -> np.ndarray:
        """For each vote what it gives the left story: 1 a win, 0 a loss, 0.5 neither."""
        return np.array([_OUTCOMES[name] for name in VERDICTS])[self.column("verdict")]

    def names(self) -> list[str]:
        """The contestants as people read them; the revision is told where a model has several."""
        return [f"{model}, {each.decoding}" for model, each in zip(self.models(), self.entrants, strict=True)]

    def models(self) -> list[str]:
        """The model of each contestant, with its revision where there are several of that name."""
        several = Counter(model for model, _ in {(each.model, each.revision) for each in self.entrants})
        return [
            f"{each.model}@{each.revision[:7]}" if several[each.model] > 1 else each.model for each in self.entrants
        ]

    def decodings(self) -> list[str]:
        """The way of decoding of each contestant."""
        return [each.decoding for each in self.entrants]

    def likelihood(self) -> list[float | None]:
        """Mean log-probability per byte of each contestant's stories under its own model, in nats."""
        return [logprob / size if size else None for logprob, size in self._likelihood]

    def record(self, row: int) -> dict[str, Any]:
        """The whole record of a vote, read from its file again."""
        return self.reader.at(Place(self._columns["file"][row], self._columns["offset"][row]))

    def stars(self, rater: str | None = None) -> Iterator[dict[str, Any]]:
        """The records of stars for single stories, of one rater or of all, in the order in which they were read."""
        with self.lock:
            kept = np.array(self._stars, np.int64).reshape(-1, 3)
            number = self._rater_numbers.get(rater)
        for _, file, offset in kept if rater is None else kept[kept[:, 0] == number]:
            yield self.reader.at(Place(int(file), int(offset)))

    def reasons(self) -> np.ndarray:
        """For each vote why it does not count, as an index into REASONS; 0 if it counts."""
        with self.lock:
            columns = {name: np.array(column) for name, column in self._columns.items()}
            retracted = [self._rows[key] for key in self._retracted if key in self._rows]
            excluded = [self._rater_numbers[name] for name in self.rules.excluded if name in self._rater_numbers]
        reason = np.zeros(len(columns["left"]), np.int8)
        for number, mask in (  # what comes later counts; only repeats that were read and meant tell of agreement
            (5, columns["repeat"] != 0),
            (6, columns["dwell"] < columns["words"] * self.rules.ms_per_word),
            (7, np.isin(columns["rater"], excluded)),
            (4, columns["again"] != 0),
            (3, columns["mode"] == MODES.index("named")),
            (2, columns["verdict"] == VERDICTS.index("skip")),
        ):
            reason[mask] = number
        reason[retracted] = 1
        reason[(reason == 0) & (columns["left"] == columns["right"])] = 8
        return reason

    def ballots(self, counted: np.ndarray | None = None) -> Ballots:
        """The votes that count, or those of a mask."""
        with self.lock:
            counted = self.reasons() == 0 if counted is None else counted
            names = tuple(self.names())
            left, right, rater, longer = (self.column(name) for name in ("left", "right", "rater", "longer"))
            columns = (left, right, self.outcomes(), rater, longer)
        # There may be new votes since the mask was made.
        return Ballots(names, *(column[: len(counted)][counted] for column in columns))


def read_ledger(folders: Sequence[Path], rules: Path | None = None) -> Ledger:
    """All votes in some folders; StorygenError if there are none."""
    for folder in folders:
        if not folder.is_dir():
            raise StorygenError(f"{folder} is no folder of votes")
    ledger = Ledger(VoteReader(*folders), load_rules(rules))
    ledger.refresh()
    if not len(ledger):
        raise StorygenError(f"no vote in {', '.join(map(str, folders))}")
    return ledger


REASONS = (
    "counted", "taken back", "skipped", "contestants were named", "battle had a verdict already",
    "shown again to test the rater", "faster than reading", "rater excluded", "a contestant against itself",
)  # fmt: skip
"""What `Ledger.reasons` tells by number."""
