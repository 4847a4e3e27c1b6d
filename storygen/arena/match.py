"""A match: two contestants write on the same prompt. What comes out is either fit to be compared or is no match."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storygen.arena.contestants import Contestant
from storygen.arena.surface import cut, surface
from storygen.config import MAX_ROW_TOKENS, GenerationConfig, field_of
from storygen.endings import SENTENCE_END
from storygen.errors import StorygenError
from storygen.writer import Result, StoryStream, Writer

MAX_PROMPT = 500
"""Characters of a title or an opening."""


class Unfit(StorygenError):
    """What was written can't be compared: it is empty, not one whole sentence, or the same on both sides."""


@dataclass(frozen=True)
class Prompt:
    """What both sides write on."""

    title: str = ""
    opening: str = ""
    source: str = "user"
    """`user`, or `suggestion`."""

    def __post_init__(self) -> None:
        for name in ("title", "opening"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise StorygenError(f"the {name} must be text, not {type(text).__name__}")
            if len(text) > MAX_PROMPT:
                raise StorygenError(f"the {name} has {len(text):,} characters; at most {MAX_PROMPT} are allowed")


@dataclass(frozen=True)
class Side:
    """What one contestant wrote."""

    contestant: Contestant
    text: str
    """As it is shown: opening and continuation."""
    result: Result
    bytes: int
    """Of all that the model wrote, shown or not: what its log-probability belongs to."""
    finish_reason: str
    """Of the story as it is shown: `length`, too, if the model ended it beyond what is shown."""

    def record(self) -> dict[str, Any]:
        """The side as a vote keeps it, complete enough to be written again."""
        result = self.result
        return {
            "model": result.model,
            "revision": result.revision,
            "config": result.config.to_dict(),
            "seed": result.seed,
            "text": self.text,
            "logprob": round(sum(result.logprobs), 4),
            "bytes": self.bytes,
            "finish_reason": self.finish_reason,
        }


@dataclass(frozen=True)
class Match:
    """Two stories on one prompt."""

    prompt: Prompt
    sides: tuple[Side, Side]
    repeat_of: str = ""
    """The battle whose stories these are, sides swapped, if they are shown to the same rater again."""

    def swapped(self, repeat_of: str = "") -> "Match":
        """The same stories with sides changed."""
        return Match(self.prompt, self.sides[::-1], repeat_of)


def write_match(
    writers: Mapping[str, Writer], prompt: Prompt, pair: tuple[Contestant, Contestant], characters: int
) -> Match:
    """Has both sides write, at the same time; Unfit if the two stories can't be compared."""
    lower = any(not writers[side.model].has_capitals for side in pair)
    streams: list[StoryStream] = []
    try:
        streams += (_start(writers[side.model], prompt, side, characters) for side in pair)
        _exhaust(streams)
    finally:
        for stream in streams:
            stream.close()
    sides = tuple(_side(side, stream.result, characters, lower) for side, stream in zip(pair, streams, strict=True))
    if sides[0].text == sides[1].text:
        raise Unfit("both wrote the same story")
    return Match(prompt, sides)


def _start(writer: Writer, prompt: Prompt, contestant: Contestant, characters: int) -> StoryStream:
    tokens = round(characters / writer.characters_per_token)
    most = min(MAX_ROW_TOKENS // contestant.config.rows, field_of(GenerationConfig, "max_new_tokens").metadata["high"])
    config = contestant.config.replace(max_new_tokens=min(tokens, most), full_sentence=True)
    return writer.stream(prompt.opening, prompt.title, config)


def _exhaust(streams: list[StoryStream]) -> None:
    """Reads all streams to their ends in turn, so that their models step together."""
    while streams:
        streams = [stream for stream in streams if next(stream, None) is not None]


def _side(contestant: Contestant, result: Result, characters: int, lower: bool) -> Side:
    text = surface(result.story, lower)
    shown = cut(text, characters + len(result.opening))
    is_whole = result.finish_reason == "end" or SENTENCE_END.search(shown[len(result.opening) :])
    if not result.text.strip() or not shown or not is_whole or result.finish_reason == "exhausted":
        raise Unfit(f"{contestant} wrote nothing that can be compared")
    reason = "length" if result.finish_reason == "end" and shown != text else result.finish_reason
    return Side(contestant, shown, result, result.written_bytes, reason)


def in_step(texts: tuple[str, str], steps: int = 15) -> Iterator[tuple[str, str]]:
    """Both texts as they grow, at one pace in characters, whole words at a time: it tells nothing of who wrote."""
    longest = max(len(text) for text in texts)
    for step in range(1, steps + 1):
        size = -(-longest * step // steps)
        yield tuple(text if size >= len(text) else text[: text.rfind(" ", 0, size) + 1] for text in texts)
