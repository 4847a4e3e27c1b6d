"""Held-out stories, cut after their first words, and how a model goes on: written once, then kept on disk."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from storygen import __version__
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation.stories import nats_of, write_all
from storygen.folders import locked
from storygen.models import config_to_dict
from storygen.writer import Result, Writer

OPENING_WORDS = 30
ROWS = 8
"""Stories of people that are read as one batch."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class HeldOut:
    """A story that no model has read, cut in two."""

    opening: str
    rest: str
    """What its author went on with, the space before it included."""


@dataclass(frozen=True)
class Continuation:
    """How somebody, a model or a person, went on."""

    text: str
    ended: bool
    """Whether the story came to its end, rather than to the limit of tokens."""
    tokens: int
    nats: float
    """Minus the log-probability of all its tokens under the model, the end token's included if it has one."""

    @property
    def whole(self) -> str:
        """Its text in whole words: where the limit may have cut one in two, the last is left out."""
        return self.text if self.ended else self.text[: max(map(self.text.rfind, " \n")) + 1].rstrip()


def cut(text: str, words: int = OPENING_WORDS) -> HeldOut:
    """A story cut after so many words; StorygenError if nothing is left to go on with."""
    ends = [match.end() for match in _WORD.finditer(text)]
    if len(ends) <= words:
        raise StorygenError(f"the story has {len(ends)} words, and its opening alone takes {words}")
    return HeldOut(text[: ends[words - 1]], text[ends[words - 1] :].rstrip())


def hold_out(texts: Sequence[str], count: int, words: int = OPENING_WORDS) -> list[HeldOut]:
    """The first `count` stories that are long enough, cut; StorygenError if there are fewer."""
    if count < 2 or words < 1:
        raise StorygenError(f"{count} stories cut after {words} words can't be compared; give 2 and 1 at least")
    held_out = []
    for text in texts:
        if len(text.split(maxsplit=words)) > words:
            held_out.append(cut(text, words))
        if len(held_out) == count:
            return held_out
    raise StorygenError(
        f"{count} stories were asked for, and {len(held_out)} of {len(texts)} have more than the {words} words of the "
        "opening; ask for fewer, or for shorter openings"
    )


def by_people(writer: Writer, stories: Sequence[HeldOut], limit: int) -> list[Continuation]:
    """How their authors went on, cut at the limit of tokens that holds for the model, and how likely it finds that."""
    tokenizer, context = writer.tokenizer, writer.model.config.context_length
    texts, pieces = [], []
    for story in stories:
        body = tokenizer.encode(story.rest)
        texts.append(tokenizer.decode(body[:limit]))
        body = [*body, tokenizer.end_id][:limit]
        tokens = [*writer.prompt_tokens(story.opening, "")[0], *body][-context - 1 :]
        pieces.append((tokens, min(len(body), len(tokens) - 1)))
    nats = [
        value
        for first in range(0, len(pieces), ROWS)
        for value in nats_of(writer.model, pieces[first : first + ROWS]).tolist()
    ]
    return [
        Continuation(text, tokens[-1] == tokenizer.end_id, scored, each)
        for text, (tokens, scored), each in zip(texts, pieces, nats, strict=True)
    ]


def by_model(
    writer: Writer, stories: Sequence[HeldOut], config: GenerationConfig, cache: Path | None = None
) -> Iterator[Continuation]:
    """How the model goes on, in order; the seed is the number of the story.

    With a cache folder each continuation is kept as soon as it is there, under a name made of all that decides it: the
    weights, the tokenizer, the settings and this package's version. What is kept is not written again, so that an
    interrupted run goes on, and one with more stories adds to it.
    """
    asked = {
        digest(story.opening, number): (story.opening, "", config.replace(seed=number))
        for number, story in enumerate(stories)
    }
    if cache is None:
        yield from map(_continuation, write_all(writer, asked.values()))
        return
    folder = cache / digest(fingerprint(writer), config.replace(seed=None).to_json(), __version__)
    with locked(folder):
        kept = Kept(folder / "continuations.jsonl")
        written = write_all(writer, [each for key, each in asked.items() if key not in kept])
        for key in asked:
            if key not in kept:
                kept.add(key, _continuation(next(written)))
            yield kept[key]


class Kept:
    """Continuations in a file of JSON lines, one a line, each under a key; a line that was cut short is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Continuation] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            try:
                values = json.loads(line)
                key = values.pop("key")
                self._known[key] = Continuation(**values)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        self._is_torn = bool(lines) and not lines[-1].endswith(b"\n")

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Continuation:
        return self._known[key]

    def add(self, key: str, continuation: Continuation) -> None:
        """Keeps one more, on disk before it is known."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._is_torn + json.dumps({"key": key, **asdict(continuation)}) + "\n")
        self._is_torn = False
        self._known[key] = continuation


def fingerprint(writer: Writer) -> str:
    """Says whether two writers are the same model: of its shape, its weights and its tokenizer."""
    sha = hashlib.sha256(json.dumps(config_to_dict(writer.model.config), sort_keys=True).encode())
    for name, tensor in sorted(writer.model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    sha.update(writer.tokenizer.fingerprint.encode())
    return sha.hexdigest()


def _continuation(result: Result) -> Continuation:
    return Continuation(result.text, result.finish_reason == "end", len(result.tokens), -sum(result.logprobs))


def digest(*parts: str | int) -> str:
    """A short name for some values, another one for others."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
