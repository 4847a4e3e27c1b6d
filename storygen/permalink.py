"""A link that writes the same story for everybody: prompt, settings, seed, model and revision as a query string."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from storygen.config import GenerationConfig, field_of
from storygen.errors import StorygenError
from storygen.writer import Result

LONGEST = 1500
"""Characters of a link: some programs cut longer ones."""
ASKED = ("title", "opening", "model", "revision")


@dataclass(frozen=True)
class Link:
    """What a link asks for."""

    title: str
    opening: str
    model: str
    revision: str
    config: GenerationConfig


def to_query(result: Result) -> str | None:
    """The query string of a story, None if it would be too long. Settings that are the default are left out."""
    values = {"title": result.title, "opening": result.opening, "model": result.model, "revision": result.revision}
    pairs = [(name, value) for name, value in values.items() if value]
    default = GenerationConfig()
    for name, value in result.config.to_dict().items():
        if value != getattr(default, name):
            pairs += [(name, item) for item in value] if isinstance(value, tuple | list) else [(name, _text(value))]
    query = urlencode(pairs)
    return query if len(query) <= LONGEST else None


def from_query(values: Mapping[str, str | list[str]]) -> Link | None:
    """What a query string asks for, None if it is no link to a story; StorygenError says what is wrong with it."""
    if "seed" not in values:
        return None
    values = dict(values)
    asked = {name: str(values.pop(name, "")) for name in ASKED}
    hints = typing.get_type_hints(GenerationConfig)
    known = {field.name for field in dataclasses.fields(GenerationConfig)}
    settings = {name: _value(name, hints[name], value) for name, value in values.items() if name in known}
    return Link(config=GenerationConfig.from_dict(settings), **asked)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, hint: object, text: str | list[str]) -> object:
    """A setting in its own type, as far as it can be read; the config refuses the rest."""
    if typing.get_origin(hint) is tuple:
        return text if isinstance(text, list) else [text]
    text = text[-1] if isinstance(text, list) else text
    if hint is bool:
        return {"true": True, "false": False}.get(text, text)
    if hint is str:
        return text
    try:
        return float(text) if hint is float else int(text)
    except ValueError:
        right = field_of(GenerationConfig, name).metadata["help"]
        raise StorygenError(f"the link has {name} {text[:40]!r}, which is no number ({right})") from None
