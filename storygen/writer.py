"""A writer: a trained model that turns a title and an opening into a story, whole or piece by piece."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storygen import artifact
from storygen.config import BEST_OF_N, GenerationConfig
from storygen.decoding import Engine, Generation, Hypothesis, Token
from storygen.decoding.stepper import STEPPER, single_threaded
from storygen.endings import Ending
from storygen.errors import StorygenError, UnavailableError
from storygen.models.compiled import compile_step
from storygen.models.transformer import Transformer
from storygen.tokenizers import StreamDecoder
from storygen.tuning.told import tell

SAMPLE = "Once upon a time there was a girl who lived at the edge of a wood, and every day she went to the well."
"""Text by which a tokenizer's characters per token are measured."""


@dataclass(frozen=True)
class Candidate:
    """One of the stories that a beam search has found, or that the best was picked of."""

    text: str
    score: float
    """What they are ranked by. In a beam search the log-probability, after modifiers, over length to the power of
    length_penalty; in best of n the reward."""
    finish_reason: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """What was written, and everything that is needed to write it again."""

    text: str
    """The continuation: what the streamed pieces add up to."""
    opening: str
    """The opening as the model continued it (without trailing white space)."""
    title: str
    finish_reason: str
    """`end`: the model ended the story; `stop`: a stop text came; `length`: `max_new_tokens` were reached; `context`:
    it can't read further; `exhausted`: the settings left no token to choose from."""
    seed: int
    config: GenerationConfig
    model: str
    revision: str
    tokens: tuple[int, ...]
    """All that were generated: the end token and what was cut off the text too."""
    logprobs: tuple[float, ...]
    """Log-probability of each token under the model, before any modifier or filter."""
    notes: tuple[str, ...] = ()
    """What the user should know, for instance that a long opening was cut."""
    candidates: tuple[Candidate, ...] = ()
    """All that a beam search has finished, or that the best was picked of, best first; the first is the text."""
    explained: tuple[Token, ...] = ()
    """The tokens with entropy and alternatives, if that was asked for; not of a beam search, nor those it was given."""
    explained_opening: tuple[Token, ...] = ()
    """The same of the tokens of the opening that the model has read."""
    prompt_tokens: int = 0
    """How many tokens the model has read before it wrote: title, opening, and what frames them."""
    written_bytes: int = field(default=0, compare=False)
    """Of all that was written, what was cut off the text included: what the log-probabilities belong to."""
    seconds: float = field(default=0.0, compare=False)
    """From the request to the last token, waiting for other requests included."""
    seconds_to_first_token: float = field(default=0.0, compare=False)

    @property
    def tokens_per_second(self) -> float:
        """How fast it was written."""
        return len(self.logprobs) / self.seconds if self.seconds else 0.0

    @property
    def story(self) -> str:
        """Opening and continuation."""
        return self.opening + self.text


class StoryStream:
    """An iterator over pieces of text; `result` is there once it is exhausted, `close()` stops early."""

    def __init__(
        self,
        pieces: Iterator[str],
        opening: str,
        cancel: Callable[[], None] = lambda: None,
        ahead: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._pieces, self._cancel, self._ahead = pieces, cancel, ahead
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

    @property
    def ahead(self) -> int | None:
        """How many requests come before this one while it waits for its turn; None if it does not, as far as known."""
        return self._ahead()

    def close(self) -> None:
        """Stops generating; no result is made."""
        self._pieces.close()
        self._cancel()  # the iterator does so only if it was ever begun


class Writer:
    """An artifact that writes."""

    def __init__(self, loaded: artifact.Artifact) -> None:
        self.artifact = loaded
        self.model, self.tokenizer, self.name = loaded.model, loaded.tokenizer, loaded.name
        self.revision = loaded.revision
        self.engine = Engine(self.model, self.tokenizer.end_id)

    def generate(
        self, opening: str = "", title: str = "", config: GenerationConfig | None = None, explain: bool = False
    ) -> Result:
        """A whole story. `title` may be a title, a prompt or a few keywords; all parts may be empty.

        With `explain` the result tells what else each token could have been.
        """
        stream = self.stream(opening, title, config, explain)
        for _ in stream:
            pass
        return stream.result

    def stream(
        self,
        opening: str = "",
        title: str = "",
        config: GenerationConfig | None = None,
        explain: bool = False,
        written: Sequence[Token] = (),
    ) -> StoryStream:
        """The same story piece by piece; the pieces add up to `Result.text`.

        A piece is empty while the request waits for its turn, a character is incomplete, text is held back that may
        have to be cut, or beam search still looks for its story. The story goes on after the tokens of `written`,
        which count, in text, length and settings, as if it had come upon them itself; only the scores of beams are
        those of what follows. Raises UnavailableError if too many requests wait.
        """
        for name, value in (("opening", opening), ("title", title)):
            if not isinstance(value, str):
                raise StorygenError(f"{name} must be text, not {type(value).__name__}")
        config = GenerationConfig() if config is None else config
        if not isinstance(config, GenerationConfig):
            raise StorygenError(f"config must be a GenerationConfig, not {type(config).__name__}")
        config = config.seeded()
        if config.strategy == BEST_OF_N:
            return self._stream_best(opening, title, config, explain, written)
        opening = opening.rstrip()  # a model continues with a space of its own
        title = title.strip()
        prompt, notes = self.prompt_tokens(opening, title)
        known = [token.id for token in written]
        if self.tokenizer.end_id in known:
            raise StorygenError("the story has ended already and can't go on")
        if len(known) >= config.max_new_tokens:
            raise StorygenError(f"the story has {len(known)} tokens already; max_new_tokens must be above that")
        rest = config.replace(
            max_new_tokens=config.max_new_tokens - len(known),
            min_new_tokens=max(0, config.min_new_tokens - len(known)),
        )
        generation = self.engine.submit([*prompt, *known], rest, self._stops_at(config.stop, known), explain)
        pieces = self._write(generation, written, prompt, opening, title, config, tuple(notes))
        return StoryStream(pieces, opening, generation.cancel, lambda: generation.ahead)

    def _stream_best(
        self, opening: str, title: str, config: GenerationConfig, explain: bool, written: Sequence[Token]
    ) -> StoryStream:
        """Several stories at once, of which the one with the highest reward comes, as a whole, when all are written."""
        if self.artifact.reward is None:
            raise StorygenError(
                f"{self.name} has no reward model, which {BEST_OF_N} needs; make one with python -m train.finetune rank"
            )
        streams: list[StoryStream] = []

        def close() -> None:
            for stream in streams:
                stream.close()

        try:
            for number in range(config.num_stories):
                drawn = config.replace(strategy="top_p", seed=(config.seed + number) % 2**31)
                streams.append(self.stream(opening, title, drawn, explain, written))
        except Exception:
            close()
            raise
        first = streams[0]
        return StoryStream(self._pick_best(streams, config), first.opening, close, lambda: first.ahead)

    def _pick_best(self, streams: Sequence[StoryStream], config: GenerationConfig) -> Iterator[str]:
        running = streams
        while running:
            running = [stream for stream in running if next(stream, None) is not None]
            yield ""
        results = [stream.result for stream in streams]
        context = self.model.config.context_length
        told = [
            tell(self.tokenizer, each.title, each.opening, each.text, each.finish_reason == "end", context)
            for each in results
        ]
        scores = STEPPER.run(lambda: self.artifact.reward.score(self.model, told))
        ranked = sorted(zip(results, scores, strict=True), key=lambda pair: -pair[1])
        best, _ = ranked[0]
        yield best.text
        return dataclasses.replace(
            best,
            seed=config.seed,
            config=config,
            candidates=tuple(Candidate(each.text, score, each.finish_reason, each.tokens) for each, score in ranked),
            seconds=max(each.seconds for each in results),
        )

    def can(self, config: GenerationConfig) -> bool:
        """Whether it can decode in this way: a model that is here can in all, but best_of_n needs a reward model."""
        return config.strategy != BEST_OF_N or self.artifact.reward is not None

    @property
    def characters_per_token(self) -> float:
        """How many characters of plain English its tokens have."""
        return len(SAMPLE) / len(self.tokenizer.encode(SAMPLE))

    @property
    def has_capitals(self) -> bool:
        """Whether it can write other than small letters."""
        texts = (token.decode("utf-8", "ignore") for token in self.tokenizer.token_bytes)
        return any(text != text.lower() for text in texts)

    @property
    def is_busy(self) -> bool:
        """Whether somebody's story is being written or waits for its turn."""
        return self.engine.has_work()

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

    def _stops_at(self, stop: Sequence[str], known: Sequence[int]) -> Callable[[Sequence[int]], bool] | None:
        """Tells from the tokens written so far, after the known ones, whether a stop text has just been completed."""
        if not stop:
            return None
        longest = max(4 * len(text) for text in stop)  # in bytes, at most

        def is_over(tokens: Sequence[int]) -> bool:
            tokens = [*known, *tokens] if known else tokens
            first, size = len(tokens) - 1, 0
            while first and size < longest:  # the last token, and enough before it to hold the longest stop text
                first -= 1
                size += len(self.tokenizer.token_bytes[tokens[first]])
            text = self.tokenizer.decode(tokens[first:])
            return any(each in text for each in stop)

        return is_over

    def _write(
        self,
        generation: Generation,
        written: Sequence[Token],
        prompt: Sequence[int],
        opening: str,
        title: str,
        config: GenerationConfig,
        notes: tuple[str, ...],
    ) -> Iterator[str]:
        decoder, ending = StreamDecoder(self.tokenizer), Ending(config.stop, config.full_sentence)
        tokens: list[Token] = []
        pieces: list[str] = []
        try:
            for token in itertools.chain(written, generation):
                piece = ""
                if token is not None:
                    tokens.append(token)
                    piece = ending.push(decoder.push(token.id))
                    pieces.append(piece)
                yield piece
        finally:
            generation.cancel()
        reason = generation.finish_reason
        if reason == "cancelled":
            raise UnavailableError("the story was given up before it was finished, as the model is being closed")
        head = prompt.index(self.tokenizer.story_id) + 1
        if piece := ending.push(decoder.finish()) + ending.finish(reason == "end"):
            pieces.append(piece)
            yield piece
        if self.model.window is not None and len(prompt) + len(tokens) > self.model.window:
            seen = f"the last {self.model.window} tokens"
            notes = (*notes, f"the story is longer than the model can see: at its end it saw {seen} only")
        return Result(
            text="".join(pieces),
            opening=opening,
            title=title,
            finish_reason=reason,
            seed=config.seed,
            config=config,
            model=self.name,
            revision=self.revision,
            tokens=tuple(token.id for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            notes=notes,
            candidates=tuple(self._candidate(hypothesis, written, config) for hypothesis in generation.hypotheses),
            explained=tuple(token for token in tokens if token.alternatives),
            explained_opening=generation.explained_prompt[head - 1 :],
            prompt_tokens=len(prompt),
            written_bytes=len(self.tokenizer.decode(token.id for token in tokens).encode()),
            seconds=generation.seconds,
            seconds_to_first_token=generation.seconds_to_first_token,
        )

    def _candidate(self, hypothesis: Hypothesis, written: Sequence[Token], config: GenerationConfig) -> Candidate:
        tokens = (*(token.id for token in written), *hypothesis.tokens)
        ending = Ending(config.stop, config.full_sentence)
        text = ending.push(self.tokenizer.decode(tokens)) + ending.finish(hypothesis.finish_reason == "end")
        return Candidate(text, hypothesis.score(config.length_penalty), hypothesis.finish_reason, tokens)


def load(path_or_repo: str | Path, revision: str | None = None, compile: bool = False) -> Writer:
    """The writer in a local folder or a Hub repository; StorygenError says what does not fit.

    With `compile`, which needs a C++ compiler and a minute, a Transformer writes a single story twice as fast.
    """
    with single_threaded():
        writer = Writer(artifact.load(path_or_repo, revision))
    if compile and isinstance(writer.model, Transformer):
        STEPPER.run(lambda: compile_step(writer.model))
    return writer
