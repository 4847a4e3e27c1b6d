"""The votes as files for others: JSON lines and Parquet, preference pairs for training, and a data card."""

import itertools
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from storygen.arena.ledger import REASONS, Ledger
from storygen.arena.reliability import reliability
from storygen.errors import StorygenError
from storygen.folders import written_aside

VOTES, PAIRS, STARS, CARD = "votes", "preferences", "stars", "README.md"
SECONDS_FRESH = 600.0
"""Whoever asks for files within this time gets those that were made last."""
BATCH = 5000
"""Votes in memory at once."""


def export_votes(ledger: Ledger, folder: Path) -> dict[str, int]:
    """Writes votes, preferences and stars, each as .jsonl and .parquet, and README.md; how many rows of each."""
    ledger.refresh()
    with written_aside(folder) as work:
        counts = {
            VOTES: _write(work / VOTES, votes(ledger)),
            PAIRS: _write(work / PAIRS, preferences(ledger)),
            STARS: _write(work / STARS, stars(ledger)),
        }
        (work / CARD).write_text(_card(counts, ledger), encoding="utf-8")
    return counts


def votes(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Every vote as it was recorded, with `counted` and, if it does not count, why."""
    for row, reason in enumerate(ledger.reasons()):
        record = ledger.record(row)
        yield {
            **{key: record.get(key) for key in ("schema", "id", "ts", "battle_id", "rater", "mode")},
            **{key: record.get(key) for key in ("prompt", "prompt_source", "left", "right", "verdict", "tags", "note")},
            **{key: record.get(key) for key in ("dwell_ms", "app_version", "repeat_of")},
            "counted": bool(reason == 0),
            "not_counted": None if reason == 0 else REASONS[reason],
        }


def preferences(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """For every vote that counts and prefers one story: the prompt, the chosen and the rejected story."""
    chances = reliability(ledger)
    for vote in votes(ledger):
        if vote["counted"] and vote["verdict"] in ("left", "right"):
            chosen, rejected = vote["left"], vote["right"]
            if vote["verdict"] == "right":
                chosen, rejected = rejected, chosen
            yield {
                "prompt": vote["prompt"]["title"],
                "opening": vote["prompt"]["opening"],
                "chosen": chosen["text"],
                "rejected": rejected["text"],
                "chosen_ended": chosen["finish_reason"] == "end",
                "rejected_ended": rejected["finish_reason"] == "end",
                "chosen_model": chosen["model"],
                "rejected_model": rejected["model"],
                "rater": vote["rater"],
                "reliability": round(chances[vote["rater"]], 4),
                "vote": vote["id"],
            }


def stars(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """One to five stars for a single story on some of four aspects, as they were recorded."""
    keys = ("schema", "id", "ts", "rater", "prompt", "story", "stars", "note", "app_version")
    for record in ledger.stars():
        yield {key: record.get(key) for key in keys}


class LatestExport:
    """The files of the last export, for all who ask: made again only if there are new records, and not too often.

    They lie in a temporary folder that goes with the process, so asking again and again doesn't fill the disk.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._folder: tempfile.TemporaryDirectory | None = None
        self._made_of, self._made_at = -1, 0.0
        self._lock = threading.Lock()

    def files(self) -> list[Path]:
        """The files. StorygenError if they can't be written."""
        with self._lock:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="storygen-export-")
            folder = Path(self._folder.name) / "votes"
            is_old = time.monotonic() > self._made_at + SECONDS_FRESH and self._made_of < self.ledger.records
            if is_old or not folder.exists():
                records = self.ledger.records
                try:
                    export_votes(self.ledger, folder)
                except OSError as error:
                    raise StorygenError(f"the files can't be written: {error.strerror}") from None
                self._made_of, self._made_at = records, time.monotonic()
            return sorted(folder.iterdir())


def _write(stem: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Writes rows to `stem`.jsonl and `stem`.parquet, a batch at a time; how many there were."""
    import pyarrow as pa  # slow to import
    import pyarrow.parquet as pq

    count, writer = 0, None
    with stem.with_suffix(".jsonl").open("w", encoding="utf-8") as lines:
        while batch := list(itertools.islice(rows, BATCH)):
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch)
            # Sides and tags go in as JSON text: the settings in them differ from one strategy to another and over time.
            table = pa.table({key: pa.array([_plain(row[key]) for row in batch], _type(pa, key)) for key in batch[0]})
            writer = writer or pq.ParquetWriter(stem.with_suffix(".parquet"), table.schema)
            writer.write_table(table)
            count += len(batch)
    if writer:
        writer.close()
    return count


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _type(pa: ModuleType, key: str) -> Any:
    types = {"schema": pa.int64(), "dwell_ms": pa.int64(), "reliability": pa.float64()}
    types |= dict.fromkeys(("counted", "chosen_ended", "rejected_ended"), pa.bool_())
    return types.get(key, pa.string())


def _card(counts: dict[str, int], ledger: Ledger) -> str:
    raters = len(ledger.raters)
    names = [name for name, count in counts.items() if count]
    configs = "\n".join(f"- config_name: {name}\n  data_files: {name}.parquet" for name in names)
    return f"""---
license: cc0-1.0
language: en
pretty_name: Blind ratings of machine-written stories
task_categories: [text-generation]
tags: [human-feedback, preference, story-generation, storygen]
configs:
{configs}
---

# Blind ratings of machine-written stories

{counts[VOTES]:,} verdicts by {raters:,} raters on pairs of short stories that small language models wrote, the
{counts[PAIRS]:,} preference pairs (`prompt`, `chosen`, `rejected`) that follow from those that count, and
{counts[STARS]:,} times one to five stars for a single story.

Raters saw two stories on the same prompt side by side, without knowing which model and which way of decoding wrote
them, and said which is better. Sides were drawn at random. `rater` is a keyed hash; no name or address was recorded.
Raters were told that verdict and stories are stored and may be published. Prompts may have been typed by visitors and
are as they came, and the stories are machine-written: either can be wrong, odd or unpleasant.

A vote holds everything that is needed to write both stories again: model, revision, settings, seed. `counted` tells
whether it counts in the ranking, `not_counted` why not; nothing was deleted, so other rules can be tried. The format
is described in docs/ratings.md of storygen. In Parquet, objects and lists are JSON text.
"""
