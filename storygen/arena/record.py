"""What a record must look like to be a vote or stars, as docs/ratings.md has it: a folder may hold anything."""

import math
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

from storygen.arena.votes import TAGS, VERDICTS
from storygen.config import GenerationConfig
from storygen.errors import StorygenError

MODES = ("blind", "strategies", "named")
"""`blind`: any two; `strategies`: one model, two ways of decoding, blind too; `named`: chosen by the rater."""
_ALWAYS = {"id": str, "ts": str, "battle_id": str, "rater": str, "prompt": dict, "verdict": str, "dwell_ms": int}
_ABOUT = {"note": str, "schema": int, "app_version": str}
_AT_TIMES = {"mode": str, "prompt_source": str, "tags": list, "repeat_of": str, **_ABOUT}
_PROMPT = {"title": str, "opening": str}
_STORY = {"model": str, "revision": str, "config": dict, "seed": int, "text": str}
_SIDE = {**_STORY, "bytes": int}
_STARS = {"id": str, "ts": str, "rater": str, "prompt": dict, "story": dict, "stars": dict}


def check_vote(record: Mapping[str, Any]) -> None:
    """StorygenError tells what a record lacks to be a vote; the settings of its sides are for `config_of`."""
    _check(record, _ALWAYS, _AT_TIMES)
    _check(record["prompt"], _PROMPT)
    _check_time(record)
    for name, known in (("verdict", VERDICTS), ("mode", MODES)):
        if record.get(name, "blind") not in known:
            raise StorygenError(f"{name} is {str(record[name])[:40]!r}; known: {', '.join(known)}")
    for name in ("left", "right"):
        side = record.get(name)
        _check(side, _SIDE, {"finish_reason": str})
        logprob = side.get("logprob")
        if type(logprob) not in (int, float) or not math.isfinite(logprob) or side["bytes"] < 0:
            raise StorygenError(f"{name}: logprob and bytes must be numbers of a text")


def check_stars(record: Mapping[str, Any]) -> None:
    """StorygenError tells what a record lacks to be stars for a story."""
    _check(record, _STARS, _ABOUT)
    _check(record["prompt"], _PROMPT)
    _check_time(record)
    _check(record["story"], _STORY)
    config_of(record["story"])
    for aspect, value in record["stars"].items():
        if aspect not in TAGS or type(value) is not int or not 1 <= value <= 5:
            raise StorygenError(f"stars are 1 to 5 for {', '.join(TAGS)}")


def config_of(side: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a side; JSON has lists where they have tuples. StorygenError if they are none."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in side["config"].items()}
    return GenerationConfig.from_dict(values)


def _check(values: Any, always: Mapping[str, type], at_times: Mapping[str, type] = MappingProxyType({})) -> None:
    """Refuses values of other types: of fields that must be there, and of those that may."""
    if not isinstance(values, dict):
        raise StorygenError("it is no object")
    for name, kind in always.items():
        if type(values.get(name)) is not kind:
            raise _other_type(name, kind, values.get(name))
    for name, kind in at_times.items():
        if name in values and type(values[name]) is not kind:
            raise _other_type(name, kind, values[name])


def _other_type(name: str, kind: type, value: Any) -> StorygenError:
    return StorygenError(f"{name} must be {kind.__name__}, not {type(value).__name__}")


def _check_time(record: Mapping[str, Any]) -> None:
    try:
        date.fromisoformat(record["ts"][:10])
    except ValueError:
        raise StorygenError(f"ts {record['ts'][:40]!r} is no time") from None
