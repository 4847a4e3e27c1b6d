"""Frozen, validated settings: one dataclass per concept, shared by the command line, the page and the API.

A field is made by `option`, which keeps beside its default the sentence that explains it and the values it may take.
Help texts, sliders and error messages are all read from there, so a bound is written down once.
"""

import dataclasses
import difflib
import json
import math
import secrets
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from storygen.errors import StorygenError
from storygen.folders import write_whole


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[str] | None = None,
) -> Any:
    """A dataclass field with its help sentence and the values it may take: low..high inclusive, or one of choices."""
    metadata = {"help": help, "low": low, "high": high, "choices": tuple(choices) if choices else None}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """Base of all settings: checks every field when made, and goes to JSON and back."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(type(self).__name__, field, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Rejects settings that contradict each other. Subclasses override it."""

    def refuse(self, name: str, right: str) -> typing.NoReturn:
        """Raises StorygenError for one field: its value, and what would be right."""
        raise StorygenError(f"{type(self).__name__}.{name} is {_short(getattr(self, name))}; {right}")

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some fields changed."""
        _refuse_unknown(type(self), changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings in a mapping of field names; an unknown name is refused with the nearest known one."""
        if not isinstance(values, dict):
            raise StorygenError(f"{cls.__name__} needs a mapping of settings, not {type(values).__name__}")
        _refuse_unknown(cls, values)
        return cls(**values)

    def to_json(self) -> str:
        """The settings as indented JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings written by `to_json`."""
        try:
            values = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise StorygenError(f"{cls.__name__} is not valid JSON: {error}") from None
        return cls.from_dict(values)


def field_of(config: type[Config], name: str) -> dataclasses.Field:
    """The field of that name, with `help`, `low`, `high` and `choices` in its metadata."""
    return config.__dataclass_fields__[name]


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> StorygenError:
    """An error for a name that is not among the known ones, with the nearest of them."""
    known, name = list(known), _short(name) if not isinstance(name, str) else name[:60]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return StorygenError(f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}")


def read_json(path: Path) -> Any:
    """The JSON in a file; what cannot be read or parsed is refused by the file's name."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StorygenError(f"{path} does not exist") from None
    except OSError as error:
        raise StorygenError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 alike
        raise StorygenError(f"{path} is not valid JSON: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; what cannot be read or parsed is refused by the file's name."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorygenError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # bad TOML and bad UTF-8 alike
        raise StorygenError(f"{path} is not TOML: {error}") from None


def write_json(path: Path, values: Any) -> None:
    """Writes plain JSON values to a file, indented; never half of them."""
    write_whole(path, json.dumps(values, indent=2) + "\n")


def _refuse_unknown(cls: type[Config], names: Iterable[str]) -> None:
    known = [field.name for field in dataclasses.fields(cls)]
    for name in names:
        if name not in known:
            raise unknown_name(f"{cls.__name__} field", name, known)


def _checked(owner: str, field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """The value in the field's own type, or a StorygenError that names the field, the value and what would be right."""
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    right = _allowed(hint, low, high, choices)
    error = StorygenError(f"{owner}.{field.name} is {_short(value)}; it must be {right}")
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or len(value) > high or any(type(item) is not str for item in value):
            raise error
        return tuple(value)
    accepted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in accepted:
        return None
    kind = next(t for t in accepted if t is not type(None))
    if isinstance(value, float) and kind is int and value.is_integer():
        value = int(value)  # a slider or JSON may write 40 as 40.0
    if type(value) is int and kind is float and abs(value) < 1e300:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise error
    if choices is not None and value not in choices:
        raise unknown_name(f"{owner}.{field.name}", value, choices)
    if (low is not None and value < low) or (high is not None and value > high):
        raise error
    return value


def _allowed(hint: Any, low: float | None, high: float | None, choices: tuple[str, ...] | None) -> str:
    if choices is not None:
        return "one of " + ", ".join(choices)
    if typing.get_origin(hint) is tuple:
        return f"a list of at most {high} texts"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    accepted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    text = " or ".join("empty" if kind is type(None) else names.get(kind, str(kind)) for kind in accepted)
    if low is not None and high is not None:
        return f"{text} from {low} to {high}"
    if low is not None:
        return f"{text}, {low} or more"
    return text


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


@dataclass(frozen=True)
class TransformerConfig(Config):
    """Shape of a decoder-only Transformer. With rotary positions and tied embeddings it is the Llama layout (Qwen3 with
    `qk_norm`).
    """

    vocab_size: int = option(4096, "Number of tokens, the special ones included.", low=4, high=1_000_000)
    hidden_size: int = option(256, "Width of the residual stream.", low=1, high=65_536)
    num_layers: int = option(6, "Number of blocks.", low=1, high=1_000)
    num_heads: int = option(4, "Attention heads per block; hidden_size is divided among them.", low=1, high=1_000)
    intermediate_size: int = option(688, "Inner width of the SwiGLU feed-forward layer.", low=1, high=262_144)
    context_length: int = option(512, "How many tokens back a token can look.", low=8, high=10_000_000)
    positions: str = option("rotary", "How the order of tokens is told.", choices=("rotary", "sinusoidal", "learned"))
    rope_theta: float = option(10_000.0, "Base of the rotary and sinusoidal wavelengths.", low=1.0)
    qk_norm: bool = option(True, "Normalise each head's queries and keys before the rotation.")
    norm_eps: float = option(1e-6, "Added to the mean square in RMSNorm.", low=0.0)
    tie_embeddings: bool = option(True, "Use the embedding matrix as the output matrix too.")
    dropout: float = option(0.0, "Share of activations dropped in training.", low=0.0, high=0.9)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    def check(self) -> None:
        if self.hidden_size % self.num_heads:
            self.refuse("hidden_size", f"it must be a multiple of num_heads ({self.num_heads})")
        if self.positions == "rotary" and self.head_dim % 2:
            self.refuse("hidden_size", f"rotary positions need an even head width, not {self.head_dim}")
        if self.positions == "sinusoidal" and self.hidden_size % 2:
            self.refuse("hidden_size", "sinusoidal positions need an even width")


@dataclass(frozen=True)
class LSTMConfig(Config):
    """Shape of an LSTM language model."""

    vocab_size: int = option(4096, "Number of tokens, the special ones included.", low=4, high=1_000_000)
    embedding_size: int = option(256, "Width of the token embeddings and of the tied output.", low=1, high=65_536)
    hidden_size: int = option(576, "Width of the hidden state and the cell of each layer.", low=1, high=65_536)
    num_layers: int = option(2, "Number of LSTM layers.", low=1, high=1_000)
    context_length: int = option(
        512, "Length of a training window in tokens; the state itself has no limit.", low=8, high=10_000_000
    )
    tie_embeddings: bool = option(True, "Use the embedding matrix as the output matrix too.")
    dropout: float = option(0.0, "Share of activations dropped between layers in training.", low=0.0, high=0.9)


ModelConfig = TransformerConfig | LSTMConfig

# Strategy name -> the settings it uses, in the order in which they act on the logits. The dropdown, the sliders that
# it shows and the chain of filters are all read from this table.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "sample": ("temperature",),
    "top_k": ("temperature", "top_k"),
    "top_p": ("temperature", "top_p"),
    "top_k_top_p": ("temperature", "top_k", "top_p"),
    "min_p": ("temperature", "min_p"),
    "typical": ("temperature", "typical_p"),
    "beam": ("num_beams", "length_penalty", "early_stopping"),
    "diverse_beam": ("num_beams", "num_groups", "diversity_penalty", "length_penalty", "early_stopping"),
    "best_of_n": ("temperature", "top_p", "num_stories"),
}
BEST_OF_N = "best_of_n"
"""The strategy that needs a reward model beside the model."""
# Settings that go with every strategy: what they forbid or make less likely, and where a story ends.
MODIFIERS = ("repetition_penalty", "no_repeat_ngram", "min_new_tokens", "stop", "full_sentence")
MAX_ROW_TOKENS = 8000
"""Most tokens that one request may make the model write, counted over all its beams."""
MAX_TITLE, MAX_OPENING = 500, 20_000
"""Characters that the page and the API take; more would be cut to what the model can see anyway."""


@dataclass(frozen=True)
class GenerationConfig(Config):
    """How a story is drawn from a model."""

    strategy: str = option("top_p", "How the next token is chosen.", choices=STRATEGIES)
    temperature: float = option(
        0.8, "Divides the logits before filtering: low is cautious, high is wild; 0 means greedy.", low=0.0, high=2.0
    )
    top_k: int = option(40, "Keep only this many of the most likely tokens.", low=1, high=1000)
    top_p: float = option(
        0.95, "Keep the smallest set of likeliest tokens whose probability reaches this.", low=0.0, high=1.0
    )
    min_p: float = option(0.05, "Keep tokens at least this share as likely as the likeliest.", low=0.0, high=1.0)
    typical_p: float = option(
        0.95,
        "Keep the tokens whose surprise is nearest to the average surprise, until their probability reaches this.",
        low=0.0,
        high=1.0,
    )
    num_beams: int = option(4, "How many hypotheses beam search follows at once.", low=1, high=16)
    length_penalty: float = option(
        1.0, "Beam scores are divided by length to this power: above 0 favours longer stories.", low=-2.0, high=4.0
    )
    early_stopping: str = option(
        "false",
        "When beam search ends: at num_beams finished stories (true), when no better one is likely (false) or when "
        "none is possible (never).",
        choices=("true", "false", "never"),
    )
    num_groups: int = option(
        2, "Diverse beams: the beams search in this many groups, each away from those before it.", low=1, high=16
    )
    diversity_penalty: float = option(
        1.0,
        "Diverse beams: taken off a token's log-probability for each beam of earlier groups that just took it.",
        low=0.0,
        high=20.0,
    )
    num_stories: int = option(
        4,
        "Best of n: so many stories are drawn, and the one that the model's reward model likes best is kept.",
        low=2,
        high=16,
    )
    repetition_penalty: float = option(
        1.0,
        "Log-probabilities of words already written are multiplied by this: above 1 makes them rarer.",
        low=1.0,
        high=3.0,
    )
    no_repeat_ngram: int = option(0, "No run of this many tokens is written twice; 0 allows it.", low=0, high=20)
    min_new_tokens: int = option(0, "The story may not end before it has this many tokens.", low=0, high=2000)
    stop: tuple[str, ...] = option(
        (), "The story ends before the first of these texts; they are not part of it.", high=8
    )
    full_sentence: bool = option(False, "Cut the story after its last whole sentence if it ends in the middle of one.")
    max_new_tokens: int = option(
        200, "The story ends here at the latest; a token is about four letters.", low=1, high=2000
    )
    seed: int | None = option(
        None, "Same seed, settings and model: same story. Empty draws a new one.", low=0, high=2**31 - 1
    )

    def check(self) -> None:
        if self.min_new_tokens > self.max_new_tokens:
            self.refuse("min_new_tokens", f"it must be at most max_new_tokens ({self.max_new_tokens})")
        if self.strategy == "diverse_beam" and self.num_beams % self.num_groups:
            self.refuse("num_groups", f"num_beams ({self.num_beams}) must be a multiple of it")
        if self.rows * self.max_new_tokens > MAX_ROW_TOKENS:
            several = "stories" if self.strategy == BEST_OF_N else "beams"
            right = f"with {self.rows} {several} it must be at most {MAX_ROW_TOKENS // self.rows}"
            self.refuse("max_new_tokens", right)
        if "" in self.stop or any(len(text) > 100 for text in self.stop):
            self.refuse("stop", "each text must have 1 to 100 characters")

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the fields that the chosen strategy uses."""
        return STRATEGIES[self.strategy]

    def seeded(self) -> "GenerationConfig":
        """These settings with a seed: a new one if it is empty."""
        return self.replace(seed=secrets.randbelow(2**31)) if self.seed is None else self

    @property
    def is_beam(self) -> bool:
        """Whether the strategy follows several hypotheses and knows its story only at the end."""
        return "num_beams" in self.settings

    @property
    def rows(self) -> int:
        """How many sequences the model works on for it at once."""
        if self.strategy == BEST_OF_N:
            return self.num_stories
        return self.num_beams if self.is_beam else 1
