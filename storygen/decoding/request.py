"""One request to the engine: what the engine keeps of it, and what its caller holds."""

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from storygen.config import GenerationConfig
from storygen.decoding.beam import BeamSearch, Hypothesis, reason_at_limit
from storygen.decoding.sampling import random_numbers
from storygen.errors import StorygenError

FLUSH_SECONDS = 0.02
"""Tokens are handed over this often at most, as each time the caller's thread and the engine's compete for Python."""


@dataclass(frozen=True)
class Token:
    """A generated token, and how likely the model found it before any modifier or filter."""

    id: int
    logprob: float
    entropy: float | None = None
    """Of the model's distribution, in nats; only if the request asked to be explained."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, best first; only if the request asked to be explained."""


class Generation:
    """One request: an iterator over its tokens, the end token included.

    Yields None when no token has come for a moment, so that a caller who waits can look up. Beam search knows its
    tokens only at its end. `cancel()`, or letting go of the iterator, frees what the request holds within a step.
    """

    def __init__(self, request: "Request", ahead: Callable[[], int | None]) -> None:
        self._request, self._ahead = request, ahead
        self._ready: deque[Token] = deque()
        self._is_over = False

    def __iter__(self) -> Iterator[Token | None]:
        return self

    def __next__(self) -> Token | None:
        while not self._ready:
            if self._is_over:
                raise StopIteration
            try:
                news = self._request.handed.get(timeout=0.1)
            except queue.Empty:
                return None
            if isinstance(news, Exception):
                self._is_over = True
                raise news
            self._is_over = not news
            self._ready.extend(news)
        return self._ready.popleft()

    def cancel(self) -> None:
        """Ends the request; its iterator stops after the tokens that it has already."""
        self._request.cancelled = True

    def __del__(self) -> None:
        self.cancel()

    @property
    def finish_reason(self) -> str | None:
        """`end`, `stop`, `length`, `context`, `exhausted` (all banned), `cancelled` or `error`; None while it runs."""
        return self._request.finish_reason

    @property
    def ahead(self) -> int | None:
        """How many requests are to be let in before this one; None once it is its turn, or it has ended."""
        return self._ahead()

    @property
    def explained_prompt(self) -> tuple[Token, ...]:
        """The tokens of the prompt, but for the first, which nothing precedes; only if it was to be explained."""
        return self._request.explained_prompt

    @property
    def hypotheses(self) -> list[Hypothesis]:
        """What a beam search has found, best first; empty for other strategies."""
        return self._request.search.finished if self._request.search else []

    @property
    def seconds_to_first_token(self) -> float:
        """From the request to its first token, waiting included."""
        return self._request.first_token_at - self._request.submitted_at

    @property
    def seconds(self) -> float:
        """From the request to its last token."""
        return self._request.last_token_at - self._request.submitted_at


class Request:
    """What the engine keeps of a request. It doesn't know the caller's Generation, so one let go of is noticed."""

    def __init__(self, prompt: list[int], config: GenerationConfig, budget: int, end_id: int) -> None:
        self.prompt, self.config, self.budget, self.end_id = prompt, config, budget, end_id
        self.is_over: Callable[[Sequence[int]], bool] | None = None
        self.explain = False
        self.explained_prompt: tuple[Token, ...] = ()
        """The prompt's tokens after the first, if it is to be explained."""
        self.search: BeamSearch | None = None
        self.numbers = random_numbers(config.seeded().seed)
        self.rows = 1
        """Rows that it has in the batch now: a beam search starts with one."""
        self.written: list[int] = []
        self.cancelled = False
        self.finish_reason: str | None = None
        self.handed: queue.SimpleQueue[list[Token] | Exception] = queue.SimpleQueue()
        """Tokens as they come, or an error; an empty list is the end."""
        self._unflushed: list[Token] = []
        self._flushed_at = 0.0
        self.submitted_at = self.first_token_at = self.last_token_at = time.monotonic()

    def write(self, token: Token) -> None:
        """Takes one more token, and finishes if it was the last."""
        now = self.last_token_at = time.monotonic()
        if not self.written:
            self.first_token_at = now
        self.written.append(token.id)
        self._unflushed.append(token)
        if token.id == self.end_id:
            self.finish("end")
        elif self.is_over is not None and self.is_over(self.written):
            self.finish("stop")
        elif len(self.written) == self.budget:
            self.finish(reason_at_limit(self.budget, self.config))
        elif now - self._flushed_at >= FLUSH_SECONDS:
            self._flushed_at = now
            self._flush()

    def finish(self, reason: str, error: Exception | None = None) -> None:
        """Ends the request; tokens not yet handed over go first."""
        self.finish_reason = reason
        self._flush()
        self.handed.put([] if error is None else error)

    def _flush(self) -> None:
        if self._unflushed:
            self.handed.put(self._unflushed)
            self._unflushed = []

    def fail(self, error: Exception) -> None:
        """Ends the request with an error that its caller gets to see."""
        if not isinstance(error, StorygenError):
            error = StorygenError(f"the story could not be written on: {type(error).__name__}: {error}")
        self.finish("error", error)

    def advance_search(self, logprobs: Tensor) -> tuple[list[int], list[int]]:
        """Takes a step of the beam search; at its end the tokens of the best hypothesis are written."""
        parents, tokens = self.search.advance(logprobs)
        self.rows = len(parents)
        if not parents:
            best = self.search.finished[0]
            self.written = list(best.tokens)
            self._unflushed = [Token(*pair) for pair in zip(best.tokens, best.logprobs, strict=True)]
            self.first_token_at = self.last_token_at = time.monotonic()
            self.finish(best.finish_reason)
        return parents, tokens
