"""The engine: all active sequences of a model advance as one batch, stepped by one thread.

Requests join and leave between steps; a beam search is as many rows as it has beams. The engine knows token ids only:
text and screens are the caller's.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from storygen.config import GenerationConfig
from storygen.decoding.beam import BeamSearch
from storygen.decoding.modifiers import is_modified, modify
from storygen.decoding.request import Generation, Request, Token
from storygen.decoding.sampling import choose
from storygen.decoding.stepper import STEPPER
from storygen.errors import StorygenError, UnavailableError
from storygen.models import LanguageModel, State

MAX_ROWS, MAX_WAITING = 16, 128
ALTERNATIVES = 5
"""How many of the likeliest tokens an explained token tells of."""


class Engine:
    """Steps a model for many requests at once.

    `max_rows` sequences advance together; up to `max_waiting` requests wait for their turn, first come, first served:
    none overtakes another, so neither a stream of small requests nor a large one starves the rest.
    """

    def __init__(
        self, model: LanguageModel, end_id: int, max_rows: int = MAX_ROWS, max_waiting: int = MAX_WAITING
    ) -> None:
        self.model, self.end_id, self.max_rows, self.max_waiting = model, end_id, max_rows, max_waiting
        self._waiting: deque[Request] = deque()
        self._closed = False
        self._admitted: Request | None = None
        """The request whose prompt is being read."""
        self._active: list[Request] = []
        """The requests in the batch, in the order of their rows."""
        self._state: State | None = None
        self._logits: Tensor | None = None
        """What the model said after the last token of each row, (rows, vocab) on the CPU."""

    def submit(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        is_over: Callable[[Sequence[int]], bool] | None = None,
        explain: bool = False,
    ) -> Generation:
        """Asks for a continuation of the prompt, at least one token.

        `is_over` looks at the tokens written so far, after each, and may end the sequence (finish reason `stop`). With
        `explain` each token carries the entropy and the likeliest alternatives, the prompt's too. Raises StorygenError
        if the request can never fit, UnavailableError if the engine is closed or too many requests wait already.
        """
        budget = config.max_new_tokens
        if self.model.max_positions is not None:
            budget = min(budget, self.model.max_positions - len(prompt) + 1)
        if not prompt or budget < 1:
            raise StorygenError(f"a prompt of {len(prompt)} tokens can't be continued by this model")
        if config.rows > self.max_rows:
            raise StorygenError(f"num_beams is {config.rows}; this engine has room for {self.max_rows} at most")
        request = Request(list(prompt), config, budget, self.end_id)
        request.is_over, request.explain = is_over, explain
        if config.is_beam:
            request.search = BeamSearch(request.prompt, self.end_id, config, budget, is_over)
        with STEPPER.changed:
            if self._closed:
                raise UnavailableError("the engine is closed; nothing more can be written with it")
            self._drop_cancelled()
            if len(self._waiting) >= self.max_waiting:
                raise UnavailableError(f"{len(self._waiting)} requests are waiting already; try again in a moment")
            STEPPER.wake(self)
            self._waiting.append(request)
        return Generation(request, lambda: self._ahead_of(request))

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    @property
    def active_rows(self) -> int:
        """How many sequences the model works on now."""
        return sum(request.rows for request in self._active) + (self._admitted is not None)

    def _ahead_of(self, request: Request) -> int | None:
        """How many of those that wait are let in before this request; None if it does not wait."""
        with STEPPER.changed:
            return self._waiting.index(request) if request in self._waiting else None

    def close(self) -> None:
        """Cancels all requests and takes no more."""
        with STEPPER.changed:
            self._closed = True
            if self.has_work():
                STEPPER.wake(self)
                STEPPER.changed.wait_for(lambda: not self.has_work())

    def has_work(self) -> bool:
        """Whether any request is active or waits."""
        return bool(self._active or self._waiting or self._admitted)

    def step(self) -> None:
        """Lets a request in, chooses the next token of every row, and has the model read them."""
        if self._closed:
            self._cancel_all()
            return
        try:
            self._admit()
            if not self._active:
                return
            rows, tokens = self._decide(self._logits)
            if not rows:
                self._state = self._logits = None
                return
            self._state = self._state.select(rows)
            logits, self._state = self._read([[token] for token in tokens], self._state)
            self._logits = _last(logits)
        except Exception as error:  # of the model itself, which concerns all that are in the batch
            for request in self._active:
                request.fail(error)
            self._active, self._state, self._logits = [], None, None

    def _cancel_all(self) -> None:
        with STEPPER.changed:
            for request in (*self._active, *self._waiting):
                request.finish("cancelled")
            self._waiting.clear()
            self._active, self._state, self._logits = [], None, None

    def _read(self, tokens: list[list[int]], state: State | None) -> tuple[Tensor, State]:
        """What the model says after each of these tokens (rows, time): logits (rows, time, vocab)."""
        device = next(self.model.parameters()).device
        return self.model(torch.tensor(tokens, device=device), state)

    def _admit(self) -> None:
        """Reads the prompt of the next request in line if there is room; one a step, so that the others go on."""
        with STEPPER.changed:
            self._drop_cancelled()
            reserved = sum(request.config.rows for request in self._active)
            if not self._waiting or reserved + self._waiting[0].config.rows > self.max_rows:
                return
            request = self._admitted = self._waiting.popleft()
        try:
            read, state = self._read([request.prompt], None)
            if request.explain:
                logprobs = read[0, :-1].float().cpu().log_softmax(dim=-1)
                request.explained_prompt = _explained(request.prompt[1:], logprobs)
            logits = _last(read)
            if self._active:
                logits, state = torch.cat((self._logits, logits)), self._state.join(state)
            self._logits, self._state = logits, state
            self._active.append(request)
        except Exception as error:
            request.fail(error)
        finally:
            self._admitted = None

    def _drop_cancelled(self) -> None:
        for request in [request for request in self._waiting if request.cancelled]:
            self._waiting.remove(request)
            request.finish("cancelled")

    def _decide(self, logits: Tensor) -> tuple[list[int], list[int]]:
        """Chooses from logits (rows, vocab): which rows go on, in the next batch's order, and with which tokens."""
        logprobs = logits.log_softmax(dim=-1)
        is_broken = logprobs[:, 0].isnan().tolist()  # one logit that is no number, or infinite, makes its row NaN
        first, firsts, sampled = 0, {}, []
        for request in self._active:
            firsts[request] = first
            if request.cancelled:
                request.finish("cancelled")
            elif any(is_broken[first : first + request.rows]):
                request.fail(StorygenError("the model gave logits that are not numbers, so the story was ended"))
            elif request.search is None:
                sampled.append(request)
            first += request.rows
        chosen = self._sample(sampled, logprobs[[firsts[request] for request in sampled]]) if sampled else {}
        rows: list[int] = []
        tokens: list[int] = []
        for request in self._active:
            if request.finish_reason is not None:
                continue
            first, parents, following = firsts[request], [0], [chosen.get(request, 0)]
            if request.search is not None:
                try:
                    parents, following = request.advance_search(logprobs[first : first + request.rows])
                except Exception as error:
                    request.fail(error)
                    continue
            rows += [first + parent for parent in parents]
            tokens += following
        self._active = [request for request in self._active if request.finish_reason is None]
        return rows, tokens

    def _sample(self, requests: list[Request], logprobs: Tensor) -> dict[Request, int]:
        """Writes the next token of each request, drawn from its row of (rows, vocab), and tells which."""
        modified = [row for row, request in enumerate(requests) if is_modified(request.config)]
        scores = logprobs.clone() if modified else logprobs
        for row in modified:
            request = requests[row]
            scores[row] = modify(logprobs[row], request.prompt, request.written, self.end_id, request.config)
        chosen = choose(scores, [request.config for request in requests], [r.numbers for r in requests])
        values = logprobs.gather(1, torch.tensor(chosen).clamp(min=0)[:, None])[:, 0].tolist()
        for row, (request, token, logprob) in enumerate(zip(requests, chosen, values, strict=True)):
            try:
                if token < 0:
                    request.finish("exhausted")
                elif request.explain:
                    request.write(*_explained([token], logprobs[row : row + 1]))
                else:
                    request.write(Token(token, logprob))
            except Exception as error:
                request.fail(error)
        return dict(zip(requests, chosen, strict=True))


def _last(logits: Tensor) -> Tensor:
    """What the model says after the last token of each row: (rows, vocab) on the CPU."""
    return logits[:, -1].float().cpu()


def _explained(tokens: Sequence[int], logprobs: Tensor) -> tuple[Token, ...]:
    """Tokens with what else there was to choose from, by the model's log-probabilities (tokens, vocab) for each."""
    best = logprobs.topk(min(ALTERNATIVES, logprobs.shape[1]))
    entropies = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(dim=1)
    chosen = logprobs.gather(1, torch.tensor(tokens, dtype=torch.long)[:, None])[:, 0]
    told = zip(tokens, chosen.tolist(), entropies.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(Token(*first, tuple(zip(ids, values, strict=True))) for *first, ids, values in told)
