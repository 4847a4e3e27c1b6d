"""A writer: a trained model that turns a title and an opening into a story, whole or piece by piece."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storygen import artifact
from storygen.config import GenerationConfig
from storygen.decoding import Token, generate_tokens
from storygen.errors import StorygenError
from storygen.tokenizers import StreamDecoder


@dataclass(frozen=True)
class Result:
    """What was written, and everything that is needed to write it again."""

    text: str
    """The continuation: what the streamed pieces add up to."""
    opening: str
    """The opening as the model continued it (without trailing white space)."""
    title: str
    finish_reason: str
    """`end`: the model ended the story; `length`: `max_new_tokens` were reached; `context`: it can't read further."""
    seed: int
    config: GenerationConfig
    model: str
    revision: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Log-probability of each token under the model, before any filter."""
    notes: tuple[str, ...] = ()
    """What the user should know, for instance that a long opening was cut."""

    @property
    def story(self) -> str:
        """Opening and continuation."""
        return self.opening + self.text


class StoryStream:
    """An iterator over pieces of text; `result` is there once it is exhausted, `close()` stops early."""

    def __init__(self, pieces: "Iterator[str]", opening: str) -> None:
        self._pieces = pieces
        self.opening = opening
        """What the pieces continue."""
        self.result: Result | None = None

    def __iter__(self) -> "StoryStream":
        return self

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as stop:
            self.result = stop.value or self.result
            raise StopIteration from None

    def close(self) -> None:
        """Stops generating; no result is made."""
        self._pieces.close()


class Writer:
    """An artifact that writes."""

    def __init__(self, loaded: artifact.Artifact) -> None:
        self.artifact = loaded
        self.model, self.tokenizer, self.name = loaded.model, loaded.tokenizer, loaded.name

    def generate(self, opening: str = "", title: str = "", config: GenerationConfig | None = None) -> Result:
        """A whole story. `title` may be a title, a prompt or a few keywords; all parts may be empty."""
        stream = self.stream(opening, title, config)
        for _ in stream:
            pass
        return stream.result

    def stream(self, opening: str = "", title: str = "", config: GenerationConfig | None = None) -> StoryStream:
        """The same story piece by piece; the pieces add up to `Result.text`.

        A piece is empty while a character is incomplete, or while beam search still looks for its story.
        """
        for name, value in (("opening", opening), ("title", title)):
            if not isinstance(value, str):
                raise StorygenError(f"{name} must be text, not {type(value).__name__}")
        config = GenerationConfig() if config is None else config
        if not isinstance(config, GenerationConfig):
            raise StorygenError(f"config must be a GenerationConfig, not {type(config).__name__}")
        if config.seed is None:
            config = config.replace(seed=secrets.randbelow(2**31))
        opening = opening.rstrip()  # a model continues with a space of its own
        title = title.strip()
        prompt, notes = self.prompt_tokens(opening, title)
        return StoryStream(self._write(prompt, opening, title, config, tuple(notes)), opening)

    def prompt_tokens(self, opening: str, title: str) -> tuple[list[int], list[str]]:
        """The tokens to continue, at most the context length, and notes on what had to be left out.

        Of a long opening the end is kept, as the story goes on from there; of a long title too.
        """
        tokenizer, model, notes = self.tokenizer, self.model, []
        # Learned positions end with the context, so half of it is left for the story; other models slide on.
        limit = model.config.context_length if model.max_positions is None else model.max_positions // 2
        unknown = tokenizer.unknown(title) + tokenizer.unknown(opening)
        if unknown:
            shown = " ".join(repr(character)[1:-1] for character in list(unknown)[:10])
            notes.append(f"characters that this model does not know were left out ({unknown.total()}): {shown}")
        asked, body = tokenizer.encode(title), tokenizer.encode(opening)
        if len(asked) > limit // 2:
            asked = asked[-(limit // 2) :]
            notes.append(f"the title is too long for this model: only its last {len(asked)} tokens were read")
        head = tokenizer.head(asked)
        room = limit - len(head)
        if len(body) > room:
            body = body[len(body) - room :]
            notes.append(f"the opening is longer than the model can see: only its last {len(body)} tokens were read")
        return [*head, *body], notes

    def _write(
        self, prompt: list[int], opening: str, title: str, config: GenerationConfig, notes: tuple[str, ...]
    ) -> Iterator[str]:
        decoder = StreamDecoder(self.tokenizer)
        tokens: list[Token] = []
        pieces: list[str] = []
        for token in generate_tokens(self.model, prompt, config, self.tokenizer.end_id):
            piece = ""
            if token is not None:
                tokens.append(token)
                piece = decoder.push(token.id)
                pieces.append(piece)
            yield piece
        if piece := decoder.finish():
            pieces.append(piece)
            yield piece
        reason = "length" if len(tokens) == config.max_new_tokens else "context"
        if tokens and tokens[-1].id == self.tokenizer.end_id:
            reason = "end"
        return Result(
            text="".join(pieces),
            opening=opening,
            title=title,
            finish_reason=reason,
            seed=config.seed,
            config=config,
            model=self.name,
            revision=self.artifact.revision,
            tokens=tuple(token.id for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            notes=notes,
        )


def load(path_or_repo: str | Path, revision: str | None = None) -> Writer:
    """The writer in a local folder or a Hub repository; StorygenError says what does not fit."""
    return Writer(artifact.load(path_or_repo, revision))
