"""All votes in columns, so that a million of them can be ranked again and again. New ones are added as they come."""

import threading
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from storygen.arena.contestants import SET_BY_BATTLE, describe_decoding
from storygen.arena.ranking import Ballots
from storygen.arena.rules import Rules, load_rules
from storygen.arena.votes import VERDICTS, Place, VoteReader, hash_of
from storygen.config import GenerationConfig
from storygen.errors import StorygenError

OUTCOMES = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5, "skip": 0.5}
MODES = ("blind", "strategies", "named")
"""`blind`: any two; `strategies`: one model, two ways of decoding, blind too; `named`: chosen by the rater."""
_COLUMNS = {
    "left": "i", "right": "i", "verdict": "b", "mode": "b", "rater": "i", "longer": "f", "words": "i", "dwell": "i",
    "day": "i", "match": "q", "left_first": "b", "repeat": "b", "again": "b", "note": "q", "file": "i", "offset": "q",
}  # fmt: skip


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
        self._numbers: dict[Any, int] = {}
        self._rater_numbers: dict[str, int] = {}
        self._rows: dict[int, int] = {}
        self._battles: set[int] = set()
        self._retracted: set[int] = set()
        self._likelihood: list[list[float]] = []
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._columns["left"])

    def refresh(self) -> int:
        """Takes in what is new; how many records that were."""
        count = 0
        with self._lock:
            for record, place in self.reader.new():
                count += 1
                self.records += 1
                try:
                    self._add(record, place)
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError, StorygenError):
                    self.refused["not a vote as docs/ratings.md has it"] += 1
        return count

    def _add(self, record: dict[str, Any], place: Place) -> None:
        if "retracts" in record:
            self._retracted.add(hash_of(record["retracts"]))
            return
        if "stars" in record:
            return  # of single stories: they are kept for others and are not ranked here
        left, right, key = record["left"], record["right"], hash_of(record["id"])
        battle, size = hash_of(record["battle_id"]), len(left["text"]) + len(right["text"])
        scores = [(float(side["logprob"]), int(side["bytes"])) for side in (left, right)]
        row = {
            "verdict": VERDICTS.index(record["verdict"]),
            "mode": MODES.index(record.get("mode", "blind")),
            "left": self._number(left),
            "right": self._number(right),
            "rater": self._rater(record["rater"]),
            "longer": (len(left["text"]) - len(right["text"])) / max(size, 1),
            "words": len(left["text"].split()) + len(right["text"].split()),
            "dwell": int(max(0, min(record["dwell_ms"], 2**31 - 1))),
            "day": date.fromisoformat(record["ts"][:10]).toordinal(),
            "match": hash_of("\0".join(sorted((left["text"], right["text"])))),
            "left_first": left["text"] <= right["text"],
            "repeat": bool(record.get("repeat_of")),
            "again": battle in self._battles,
            "note": hash_of(note) if (note := " ".join(record.get("note", "").lower().split())) else 0,
            "file": place.file,
            "offset": place.offset,
        }
        for number, (logprob, size) in zip((row["left"], row["right"]), scores, strict=True):
            self._likelihood[number][0] += logprob
            self._likelihood[number][1] += size
        self._battles.add(battle)
        self._rows[key] = len(self)
        for name, column in self._columns.items():
            column.append(row[name])

    def _number(self, side: dict[str, Any]) -> int:
        """The number of the contestant that wrote a side."""
        config = {name: tuple(v) if isinstance(v, list) else v for name, v in side["config"].items()}
        key = (side["model"], side["revision"], *((n, v) for n, v in config.items() if n not in SET_BY_BATTLE))
        if key not in self._numbers:
            decoding = describe_decoding(GenerationConfig.from_dict(config))
            entrant = Entrant(str(side["model"]), str(side["revision"]), decoding)
            if entrant not in self.entrants:
                self.entrants.append(entrant)
                self._likelihood.append([0.0, 0])
            self._numbers[key] = self.entrants.index(entrant)
        return self._numbers[key]

    def _rater(self, name: str) -> int:
        if not isinstance(name, str):
            raise ValueError("a rater is named by text")
        if name not in self._rater_numbers:
            self._rater_numbers[name] = len(self.raters)
            self.raters.append(name)
        return self._rater_numbers[name]

    def column(self, name: str) -> np.ndarray:
        """A copy of one column, one value for each vote."""
        with self._lock:
            return np.array(self._columns[name])

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

    def reasons(self) -> np.ndarray:
        """For each vote why it does not count, as an index into REASONS; 0 if it counts."""
        with self._lock:
            columns = {name: np.array(column) for name, column in self._columns.items()}
            retracted = [self._rows[key] for key in self._retracted if key in self._rows]
            excluded = [self._rater_numbers[name] for name in self.rules.excluded if name in self._rater_numbers]
        reason = np.zeros(len(columns["left"]), np.int8)
        for number, mask in (
            (7, np.isin(columns["rater"], excluded)),
            (6, columns["dwell"] < columns["words"] * self.rules.ms_per_word),
            (5, columns["repeat"] != 0),
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
        with self._lock:
            counted = self.reasons() == 0 if counted is None else counted
            names = tuple(self.names())
            left, right, verdict, rater, longer = (
                self.column(name)[counted] for name in ("left", "right", "verdict", "rater", "longer")
            )
        outcome = np.array([OUTCOMES[name] for name in VERDICTS])[verdict]
        return Ballots(names, left, right, outcome, rater, longer)


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
