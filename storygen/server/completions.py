"""The answer to a completion request, whole or as server-sent events."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from storygen.config import MAX_ROW_TOKENS
from storygen.decoding import Token
from storygen.errors import StorygenError
from storygen.server.errors import FailedError, error_object, kind_of
from storygen.server.notes import Notes
from storygen.server.schema import Asked
from storygen.server.stories import Order, Stories
from storygen.tokenizers import SPECIAL_TOKENS, StreamDecoder, Tokenizer
from storygen.writer import Result, Writer

LOG = logging.getLogger("storygen.server")
T = TypeVar("T")
MAX_SEED = 2**31
FINISH_REASONS = {"length": "length", "context": "length"}
"""Our reason -> OpenAI's; it calls all others `stop`."""


def orders_of(asked: Asked, writer: Writer) -> list[Order]:
    """The stories that are asked for: n for each prompt, in order. StorygenError says what can't be had."""
    asked.refuse_what_is_not_offered()
    config, number = asked.generation_config().seeded(), asked.n or 1
    if config.is_beam and number > 1:
        raise StorygenError(f"n is {number}; strategy {config.strategy!r} has one story for a prompt, so n must be 1")
    if asked.logprobs is not None and not isinstance(writer, Writer):
        raise StorygenError(f"{writer.name} runs on another server: its log-probabilities are not passed on")
    tokens = len(asked.openings) * number * config.rows * config.max_new_tokens
    if tokens > MAX_ROW_TOKENS:
        raise StorygenError(f"prompts x n x beams x max_tokens is {tokens}; it may be {MAX_ROW_TOKENS} at most")
    explain = asked.logprobs is not None and (asked.logprobs > 0 or bool(asked.echo))
    configs = [config.replace(seed=(config.seed + each) % MAX_SEED) for each in range(number)]
    return [Order(writer, text, asked.title, each, explain) for text in asked.openings for each in configs]


class Reply:
    """Makes the pieces of the answer to one request."""

    def __init__(self, asked: Asked, writer: Writer) -> None:
        self._asked, self._writer = asked, writer
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": writer.name,
            "system_fingerprint": writer.revision,
        }

    def whole(self, results: Sequence[Result]) -> dict[str, Any]:
        """The answer with all stories."""
        choices = [{**self._end(number, each), "text": self._text(each)} for number, each in enumerate(results)]
        return {**self._head, "choices": choices, "usage": usage_of(results)}

    async def events(self, stories: Stories, orders: Sequence[Order], notes: Notes) -> AsyncIterator[str]:
        """The answer as server-sent events."""
        usage = {"usage": None} if self._wants_usage else {}
        results: dict[int, Result] = {}
        try:
            for number, order in enumerate(orders) if self._asked.echo else ():
                yield self._event(number, order.opening.rstrip(), usage)
            async for number, news in stories:
                if isinstance(news, Result):
                    results[number] = news
                    notes.done(news)
                    yield _event({**self._head, "choices": [self._end(number, news)], **usage})
                else:
                    yield self._event(number, news, usage)
        except Exception as error:  # the status has been sent: a client would take a cut for the end
            if not isinstance(error, StorygenError):
                LOG.exception("a stream failed")
                error = FailedError("the server failed at this request")
            notes.failed(error)
            _, kind, code = kind_of(error)
            yield _event(error_object(str(error), kind, code))
            return
        if usage:
            yield _event({**self._head, "choices": [], "usage": usage_of(list(results.values()))})
        yield "data: [DONE]\n\n"

    @property
    def _wants_usage(self) -> bool:
        options = self._asked.stream_options
        return options is not None and options.include_usage

    def _event(self, number: int, text: str, usage: dict[str, None]) -> str:
        choice = {"index": number, "text": text, "logprobs": None, "finish_reason": None}
        return _event({**self._head, "choices": [choice], **usage})

    def _text(self, result: Result) -> str:
        return result.story if self._asked.echo else result.text

    def _end(self, number: int, result: Result) -> dict[str, Any]:
        """A choice with all that is known of it at its end, but for the text."""
        return {
            "index": number,
            "text": "",
            "finish_reason": FINISH_REASONS.get(result.finish_reason, "stop"),
            "logprobs": None if self._asked.logprobs is None else self._logprobs(result),
            "ending": result.finish_reason,
            "seed": result.seed,
            "notes": list(result.notes),
        }

    def _logprobs(self, result: Result) -> dict[str, Any]:
        tokenizer = self._writer.tokenizer
        tokens = list(result.explained)
        if not tokens:
            tokens = [Token(*pair) for pair in zip(result.tokens, result.logprobs, strict=True)]
        offset = 0
        if self._asked.echo:
            read = result.explained_opening
            offset = max(0, len(result.opening) - len(tokenizer.decode(token.id for token in read)))
            tokens = [*read, *tokens]
        return logprobs_of(tokens, tokenizer, self._asked.logprobs, offset)


def logprobs_of(tokens: Sequence[Token], tokenizer: Tokenizer, top: int, offset: int) -> dict[str, Any]:
    """Tokens as OpenAI tells them, each with so many alternatives; the first begins at `offset` in the text."""
    offsets, decoder = [], StreamDecoder(tokenizer)
    for token in tokens:
        offsets.append(offset)
        offset += len(decoder.push(token.id))
    alternatives = [{token_text(tokenizer, id): value for id, value in t.alternatives[:top]} for t in tokens]
    return {
        "tokens": [token_text(tokenizer, token.id) for token in tokens],
        "token_ids": [token.id for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": alternatives if top else None,
        "text_offset": offsets,
    }


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; special ones by their names, and bytes that are no text as OpenAI writes them."""
    first_special = tokenizer.vocab_size - len(SPECIAL_TOKENS)
    if token >= first_special:
        return SPECIAL_TOKENS[token - first_special]
    raw = tokenizer.token_bytes[token]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def usage_of(results: Sequence[Result]) -> dict[str, int]:
    """How many tokens were read and written."""
    read = sum(result.prompt_tokens for result in results)
    written = sum(len(result.logprobs) for result in results)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values)}\n\n"


class EventStream(StreamingResponse):
    """Server-sent events; `close` is called when they are over, or the client has gone, in any case."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], close: Callable[[], None]) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no"})  # nginx would hold the story back
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """What the work gives; None, and the work is cancelled, if the client hangs up before."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
