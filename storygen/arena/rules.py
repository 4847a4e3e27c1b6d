"""Which votes count. The rules are applied when ranking: no vote is deleted, and others can be tried later."""

from dataclasses import dataclass
from pathlib import Path

from storygen.config import Config, option, read_toml
from storygen.errors import StorygenError


@dataclass(frozen=True)
class Rules(Config):
    """What keeps a vote out of the ranking."""

    ms_per_word: float = option(
        20.0,
        "A vote counts only if the stories were on the screen for so many milliseconds per word of both: faster than "
        "anybody reads it was not read (20 is 3,000 words a minute).",
        low=0.0,
        high=1000.0,
    )
    excluded: tuple[str, ...] = option((), "Raters whose votes do not count.", high=1_000_000)


def load_rules(path: str | Path | None) -> Rules:
    """The rules in a TOML file: `ms_per_word`, and an [[exclude]] with `rater` and `reason` for each one left out."""
    if path is None:
        return Rules()
    path = Path(path)
    values = read_toml(path)
    try:
        raters = [_excluded(entry) for entry in values.pop("exclude", [])]
        return Rules.from_dict({**values, "excluded": raters})
    except StorygenError as error:
        raise StorygenError(f"{path}: {error}") from None


def _excluded(entry: object) -> str:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("rater", "reason")):
        raise StorygenError("an [[exclude]] needs a rater and a reason, both text")
    return entry["rater"]
