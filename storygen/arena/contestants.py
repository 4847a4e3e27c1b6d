"""Who competes: a contestant is a model and how it is decoded. The catalogue is a TOML file that an owner edits."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storygen.config import MODIFIERS, GenerationConfig, field_of, read_toml, unknown_name
from storygen.errors import StorygenError

CATALOGUE = Path(__file__).with_name("contestants.toml")
SET_BY_BATTLE = ("max_new_tokens", "min_new_tokens", "full_sentence", "seed")
"""Settings that a contestant can't have of its own."""
SHAPING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "num_beams", "num_groups", "num_stories")
"""Settings that are always told, the others only if they are not the default."""


@dataclass(frozen=True)
class Contestant:
    """A model and how it is decoded."""

    model: str
    config: GenerationConfig

    @property
    def decoding(self) -> str:
        """How it is decoded, for people."""
        return describe_decoding(self.config)

    def __str__(self) -> str:
        return f"{self.model}, {self.decoding}"


@dataclass(frozen=True)
class Catalogue:
    """The contestants, and how long their stories may be."""

    contestants: tuple[Contestant, ...]
    characters: int


def describe_decoding(config: GenerationConfig) -> str:
    """The strategy with the settings that matter: `top p (temperature 0.8, top p 0.95)`."""
    named = [
        name
        for name in (*config.settings, *MODIFIERS)
        if (name in SHAPING and name in config.settings)
        or (name not in SET_BY_BATTLE and getattr(config, name) != field_of(GenerationConfig, name).default)
    ]
    settings = ", ".join(f"{_words(name)} {getattr(config, name)}" for name in named)
    return _words(config.strategy) + (f" ({settings})" if settings else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def load_catalogue(models: Iterable[str], path: str | Path = CATALOGUE) -> Catalogue:
    """The catalogue in a file, for these models; StorygenError says which entry is wrong."""
    path, models = Path(path), list(models)
    values = read_toml(path)
    known = ("characters", "decoding")
    for name in values:
        if name not in known:
            raise StorygenError(f"{path}: {unknown_name('entry', name, known)}")
    characters = values.get("characters")
    if type(characters) is not int or not 100 <= characters <= 5000:
        raise StorygenError(f"{path}: characters is {characters!r}; it must be a whole number from 100 to 5000")
    entries = values.get("decoding")
    if not isinstance(entries, list) or not entries:
        raise StorygenError(f"{path} has no [[decoding]]")
    contestants: list[Contestant] = []
    for number, entry in enumerate(entries, 1):
        try:
            contestants += _entrants(entry, models)
        except StorygenError as error:
            raise StorygenError(f"{path}, [[decoding]] {number}: {error}") from None
    if len(set(contestants)) < len(contestants):
        twice = next(str(each) for each in contestants if contestants.count(each) > 1)
        raise StorygenError(f"{path}: {twice} is there twice")
    if len(contestants) < 2:
        raise StorygenError(f"{path} gives {len(contestants)} contestants with {', '.join(models)}; two are needed")
    return Catalogue(tuple(contestants), characters)


def _entrants(entry: Any, models: list[str]) -> list[Contestant]:
    if not isinstance(entry, dict):
        raise StorygenError("it must be a table of settings")
    settings = dict(entry)
    named = settings.pop("models", models)
    for name in SET_BY_BATTLE:
        if name in settings:
            raise StorygenError(f"{name} is the battle's, the same for both sides; take it out")
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise StorygenError("models must be a list of names")
    config = GenerationConfig.from_dict(settings)
    return [Contestant(model, config) for model in named if model in models]
