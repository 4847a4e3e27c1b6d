"""What clients send and get: OpenAI's completions, and fields of our own made from `GenerationConfig`."""

import dataclasses
import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from storygen.config import MAX_OPENING, MAX_TITLE, STRATEGIES, GenerationConfig
from storygen.errors import StorygenError

MAX_TOKENS = "max_tokens"
"""OpenAI's name of `max_new_tokens`."""
OPENAI_SAMPLING = {"temperature", "top_p"}
"""Settings that OpenAI's clients may send whatever the strategy is; one that does not use them passes them over."""
MAX_CHOICES, MAX_LOGPROBS = 16, 5


class StreamOptions(BaseModel):
    """How a stream is sent."""

    model_config = ConfigDict(strict=True, extra="forbid")

    include_usage: bool = Field(False, description="Send the usage in one more chunk, before the end.")
    include_obfuscation: bool = Field(False, description="Accepted and passed over.")


def _setting(field: dataclasses.Field, hint: Any) -> Any:
    """The type of a request's field for a setting: described here, checked by GenerationConfig, whose errors say more.

    None is what clients send for "not given".
    """
    kinds = {int: "integer", float: "number", bool: "boolean", str: "string"}
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if typing.get_origin(hint) is tuple:
        text = {"type": "string", "minLength": 1, "maxLength": 100}
        schemas = [text, {"type": "array", "items": text, "maxItems": high}]
    else:
        kind = next(each for each in (*typing.get_args(hint), hint) if each in kinds)
        bounds = {"minimum": low, "maximum": high, "enum": choices and list(choices)}
        schemas = [{"type": kinds[kind], **{name: bound for name, bound in bounds.items() if bound is not None}}]
    return Annotated[Any, WithJsonSchema({"anyOf": [*schemas, {"type": "null"}]})]


def _settings() -> dict[str, Any]:
    """The fields of a request that are settings, by their names in the API."""
    hints = typing.get_type_hints(GenerationConfig)
    made = {}
    for field in dataclasses.fields(GenerationConfig):
        shown = list(field.default) if isinstance(field.default, tuple) else field.default
        text = f"{field.metadata['help']} Default: {shown}."
        name = MAX_TOKENS if field.name == "max_new_tokens" else field.name
        made[name] = (_setting(field, hints[field.name]), Field(None, description=text))
    return made


def _only(*values: Any) -> Any:
    """The type of a field of OpenAI's whose other values are not offered."""
    return Annotated[Any, WithJsonSchema({"enum": [None, *values]})]


class Asked(BaseModel):
    """The fields of a completion request that are no settings of decoding."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str | None = Field(None, description="Name of a model as /v1/models lists it; the first one if left out.")
    prompt: (
        Annotated[str, Field(max_length=MAX_OPENING)]
        | Annotated[list[Annotated[str, Field(max_length=MAX_OPENING)]], Field(min_length=1, max_length=MAX_CHOICES)]
        | None
    ) = Field(None, description="The opening that the story goes on from, or several; may be empty.")
    title: str = Field("", max_length=MAX_TITLE, description="A title, an idea or keywords that the story is about.")
    n: int | None = Field(
        None, ge=1, le=MAX_CHOICES, description="Stories for each prompt, with the seeds seed, seed + 1, ..."
    )
    logprobs: int | None = Field(
        None, ge=0, le=MAX_LOGPROBS, description="Tell each token's log-probability, and so many of the likeliest."
    )
    echo: bool | None = Field(None, description="Begin the text, and the log-probabilities, with the prompt.")
    stream: bool | None = Field(None, description="Send the story as it is written, by server-sent events.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Accepted and passed over.")
    best_of: int | None = Field(None, description="Not offered: must be n.")
    suffix: _only("") = Field(None, description="Not offered.")
    presence_penalty: _only(0) = Field(None, description="Not offered; see repetition_penalty.")
    frequency_penalty: _only(0) = Field(None, description="Not offered; see repetition_penalty.")
    logit_bias: _only({}) = Field(None, description="Not offered.")

    def refuse_what_is_not_offered(self) -> None:
        """Raises StorygenError rather than answer something else than what was asked."""
        for name in ("suffix", "presence_penalty", "frequency_penalty", "logit_bias"):
            if getattr(self, name):
                raise StorygenError(f"{name} is not offered here; leave it out")
        if self.best_of not in (None, self.n or 1):
            raise StorygenError(f"best_of is not offered here; leave it out, or give it the value of n ({self.n or 1})")

    @property
    def openings(self) -> list[str]:
        """The prompts."""
        return self.prompt if isinstance(self.prompt, list) else [self.prompt or ""]

    def generation_config(self) -> GenerationConfig:
        """The settings that were given, over the defaults."""
        given = {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}
        if MAX_TOKENS in given:
            given["max_new_tokens"] = given.pop(MAX_TOKENS)
        if isinstance(given.get("stop"), str):
            given["stop"] = [given["stop"]]
        if "strategy" not in given:  # clients name the filter and know of no strategies
            implied = [strategy for name, strategy in IMPLIED.items() if name in given]
            given |= {"strategy": implied[0]} if implied else {}
        try:
            config = GenerationConfig(**given)
        except StorygenError as error:  # in the names of the API
            message = str(error).replace("GenerationConfig.", "").replace("max_new_tokens", MAX_TOKENS)
            raise StorygenError(message) from None
        for name in given:
            users = [strategy for strategy, names in STRATEGIES.items() if name in names]
            if users and name not in OPENAI_SAMPLING and config.strategy not in users:
                raise StorygenError(f"{name} is given, but strategy {config.strategy!r} has no use for it; "
                                    f"those that have: {', '.join(users)}")  # fmt: skip
        return config


SETTINGS = _settings()
IMPLIED = {"top_k": "top_k_top_p", "min_p": "min_p"}
"""A setting -> the strategy of a request that has it and names none."""
EXAMPLES = [
    {"model": "transformer", "prompt": "Once upon a time", "title": "The Fox and the Moon", "max_tokens": 100},
    {"model": "lstm", "prompt": ["", "One day"], "strategy": "top_k", "top_k": 40, "temperature": 0.7, "seed": 7},
    {"prompt": "The king", "strategy": "beam", "num_beams": 4, "max_tokens": 60, "stop": ["The end"], "logprobs": 0},
    {"prompt": "A mouse", "stream": True, "stream_options": {"include_usage": True}, "full_sentence": True},
]
CompletionRequest = create_model("CompletionRequest", __base__=Asked, **SETTINGS)
CompletionRequest.model_config["json_schema_extra"] = {"examples": EXAMPLES}


class Logprobs(BaseModel):
    """The tokens of a choice, and how likely the model found each before any filter: lists of one length."""

    tokens: list[str] = Field(description="Their texts; `bytes:\\x..` for a part of a character.")
    token_ids: list[int]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None = Field(description="The likeliest tokens at each place.")
    text_offset: list[int] = Field(description="Where in the text each begins.")


class Choice(BaseModel):
    """One story. In a stream the text comes in pieces, the rest with the last of them."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: Logprobs | None = None
    ending: Literal["end", "stop", "length", "context", "exhausted"] = Field(
        "end", description="More than finish_reason tells: the story's own end, or a stop text, ..."
    )
    seed: int = Field(0, description="With the same request it gives the same story.")
    notes: list[str] = Field([], description="What the client should know, for instance that a long prompt was cut.")


class Usage(BaseModel):
    """How many tokens were read and written. A prompt counts once for each of its stories."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The answer to a completion request."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    system_fingerprint: str = Field(description="Revision of the model's weights.")
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the server was started, in seconds since 1970.")
    owned_by: str = "storygen"
    revision: str


class Models(BaseModel):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str


class Failure(BaseModel):
    """The answer to a request that is refused or has failed."""

    error: ErrorDetail
