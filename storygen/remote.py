"""A writer whose model runs on another server, reached by OpenAI's completions API: our own server, vLLM, and the like.

`STORYGEN_BACKEND=openai:http://host:8000/v1` names the server, STORYGEN_BACKEND_KEY its API key. Our own server is
told title and settings as they are. Any other is taken to serve an export of `train.publish export`: it gets the tokens
that frame a story in its prompt, and only the settings that it knows.
"""

import functools
import json
import queue
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from storygen.config import BEST_OF_N, MODIFIERS, GenerationConfig, field_of
from storygen.endings import Ending
from storygen.errors import RefusedError, StorygenError, UnavailableError
from storygen.tokenizers import PROMPT, STORY
from storygen.writer import Result, StoryStream

SCHEME = "openai:"
OURS = "storygen"
"""What our server tells as the owner of its models."""
CONNECT_SECONDS, SILENT_SECONDS = 10.0, 180.0
"""How long a server may take to be reached, and may then say nothing."""
MAX_LINE = 1_000_000
"""Bytes of a line, and about the characters of a story, beyond which an answer is none."""
ENDINGS = ("end", "stop", "length", "context", "exhausted")
"""What our server tells of how a story ended."""
KNOWN_ELSEWHERE = ("greedy", "sample", "top_k", "top_p", "top_k_top_p", "min_p")
"""Strategies that other servers have."""


@dataclass(frozen=True)
class Backend:
    """A server that writes."""

    url: str
    key: str = field(default="", repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """How it is to be reached, for httpx."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        return {"headers": headers, "timeout": timeout, "verify": _certificates()}

    def failed(self, what: str) -> UnavailableError:
        """An error about this server."""
        return UnavailableError(f"the remote engine at {self.url} {what}")


def backend_of(value: str, key: str = "") -> Backend:
    """The server that a value of STORYGEN_BACKEND names."""
    url = value.strip().removeprefix(SCHEME).rstrip("/")
    if not value.strip().startswith(SCHEME) or not url.startswith(("http://", "https://")):
        raise StorygenError(f"STORYGEN_BACKEND is {value[:60]!r}; it must be openai:URL, as openai:http://host:8000/v1")
    if "@" in url:
        raise StorygenError("STORYGEN_BACKEND must not hold a password; put the key into STORYGEN_BACKEND_KEY")
    return Backend(url, key)


def remote_writers(backend: Backend) -> list["RemoteWriter"]:
    """A writer for each model of the server; UnavailableError says why there is none."""
    import httpx

    try:
        answer = httpx.get(f"{backend.url}/models", **backend.settings)
    except httpx.HTTPError as error:
        raise backend.failed(f"cannot be reached: {_reason(error)}") from None
    if answer.status_code != 200:
        raise backend.failed(f"does not list its models: {_message(answer.status_code, answer.content)}")
    try:
        found = [
            RemoteWriter(backend, str(model["id"]), model.get("owned_by") == OURS, str(model.get("revision", "")))
            for model in answer.json()["data"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise backend.failed(
            "lists its models in a way that is not OpenAI's; its address ends in /v1 as a rule"
        ) from None
    if not found:
        raise backend.failed("serves no model")
    return found


class RemoteWriter:
    """Writes as `storygen.writer.Writer` does, by a model elsewhere.

    Its results have what the server tells: text, log-probabilities, the reason for the end, the seed. They have no
    candidates and explain nothing.
    """

    def __init__(self, backend: Backend, name: str, is_ours: bool, revision: str = "") -> None:
        self.backend, self.name, self.is_ours, self.revision = backend, name, is_ours, revision

    characters_per_token, has_capitals, is_busy = 4.0, True, False
    """What `Writer` knows of its model; of one elsewhere it is taken to be as of most."""

    def generate(
        self, opening: str = "", title: str = "", config: GenerationConfig | None = None, explain: bool = False
    ) -> Result:
        """A whole story, as by `Writer.generate`."""
        stream = self.stream(opening, title, config, explain)
        for _ in stream:
            pass
        return stream.result

    def stream(
        self, opening: str = "", title: str = "", config: GenerationConfig | None = None, explain: bool = False
    ) -> StoryStream:
        """The same story piece by piece, as by `Writer.stream`; the server is asked with the first of them."""
        config = (config or GenerationConfig()).seeded()
        opening, title = opening.rstrip(), title.strip()
        body = self.body_for(opening, title, config)
        return StoryStream(self._write(body, opening, title, config), opening)

    def can(self, config: GenerationConfig) -> bool:
        """Whether the server can decode in this way, as far as is known here."""
        if config.strategy == BEST_OF_N:
            return False  # it does not tell whether the model has a reward model beside it
        try:
            self.body_for("", "", config)
        except StorygenError:
            return False
        return True

    def body_for(self, opening: str, title: str, config: GenerationConfig) -> dict[str, Any]:
        """The request, but for `full_sentence`, which is seen to here. StorygenError for what the server can't do."""
        body = {
            "model": self.name, "prompt": opening, "max_tokens": config.max_new_tokens, "seed": config.seed,
            "stop": list(config.stop) or None, "logprobs": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        used = {name: getattr(config, name) for name in config.settings}
        changed = {name for name in MODIFIERS if getattr(config, name) != field_of(GenerationConfig, name).default}
        changed -= {"stop", "full_sentence"}
        if self.is_ours:
            modifiers = {name: getattr(config, name) for name in changed}
            return {**body, **used, **modifiers, "title": title, "strategy": config.strategy}
        if config.strategy not in KNOWN_ELSEWHERE:
            raise StorygenError(
                f"{self.name} runs elsewhere, where strategy {config.strategy!r} is unknown; "
                f"known: {', '.join(KNOWN_ELSEWHERE)}"
            )
        if changed:
            raise StorygenError(f"{self.name} runs elsewhere, where {', '.join(sorted(changed))} can't be set")
        framed = f"{PROMPT}{title}{STORY}{opening}" if title else STORY + opening
        return {
            **body,
            "temperature": 0.0 if config.strategy == "greedy" else 1.0,
            "top_p": 1.0,
            **used,
            "prompt": framed,
        }

    def _write(self, body: dict[str, Any], opening: str, title: str, config: GenerationConfig) -> Iterator[str]:
        from anyio.from_thread import start_blocking_portal

        started, first = time.monotonic(), 0.0
        ending, told = Ending((), config.full_sentence), _Told()
        received: list[str] = []
        pieces: list[str] = []
        news: queue.SimpleQueue[str | StorygenError | None] = queue.SimpleQueue()
        with start_blocking_portal() as portal:  # an event loop of its own: a read that waits there can be cancelled
            reading = portal.start_task_soon(self._read, body, told, news.put)
            try:
                while True:
                    try:
                        text = news.get(timeout=0.1)
                    except queue.Empty:
                        yield ""  # so that a caller who waits can look up
                        continue
                    if isinstance(text, StorygenError):
                        raise text
                    if text is None:
                        break
                    first = first or time.monotonic() - started
                    received.append(text)
                    pieces.append(ending.push(text))
                    yield pieces[-1]
            finally:
                reading.cancel()
        if told.finish_reason is None:
            raise self._failed("broke the story off")
        if piece := ending.finish(told.finish_reason == "end"):
            pieces.append(piece)
            yield piece
        return Result(
            text="".join(pieces),
            opening=opening,
            title=title,
            finish_reason=told.finish_reason,
            seed=config.seed,
            config=config,
            model=self.name,
            revision=told.revision or self.revision,
            tokens=tuple(told.tokens),
            logprobs=tuple(told.logprobs),
            notes=tuple(told.notes),
            prompt_tokens=told.prompt_tokens,
            written_bytes=len("".join(received).encode()),
            seconds=time.monotonic() - started,
            seconds_to_first_token=first,
        )

    async def _read(
        self, body: dict[str, Any], told: "_Told", tell: Callable[[str | StorygenError | None], None]
    ) -> None:
        """Tells the text of each event of the answer, then of an error if there was one, and at the end None."""
        import httpx

        try:
            async with (
                httpx.AsyncClient(**self.backend.settings) as client,
                client.stream("POST", f"{self.backend.url}/completions", json=body) as answer,
            ):
                if answer.status_code != 200:
                    content = b""
                    async for chunk in answer.aiter_bytes():
                        content += chunk
                        if len(content) > MAX_LINE:
                            break
                    raise self._refused(answer.status_code, content)
                async for data in _events(answer.aiter_bytes()):
                    event = json.loads(data)
                    if event.get("error"):
                        raise self._failed(f"broke the story off: {_message_in(event)}")
                    tell(told.take(event))
        except StorygenError as error:
            tell(error)
        except httpx.HTTPError as error:
            tell(self._failed(f"cannot be reached: {_reason(error)}"))
        except (ValueError, AttributeError, TypeError, RecursionError):
            tell(self._failed("answers in a way that is not OpenAI's"))
        finally:
            tell(None)

    def _refused(self, status: int, content: bytes) -> StorygenError:
        message = _message(status, content)
        if status in (400, 413, 422):
            return RefusedError(f"the engine that runs {self.name} refused the request: {message}")
        return self._failed(f"did not answer: {message}")

    def _failed(self, what: str) -> UnavailableError:
        """An error that visitors read: where the engine is, is none of their business."""
        return UnavailableError(f"the engine that runs {self.name} {what}")


class _Told:
    """What the events of a story have told so far."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.revision = ""
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.notes: list[str] = []
        self.prompt_tokens = 0
        self.size = 0

    def take(self, event: dict[str, Any]) -> str:
        """The event's text, once the rest is noted."""
        self.revision = _checked(event.get("system_fingerprint"), str) or self.revision
        self.prompt_tokens = _checked((event.get("usage") or {}).get("prompt_tokens"), int) or self.prompt_tokens
        text = ""
        for choice in event.get("choices") or []:
            text += _checked(choice.get("text"), str) or ""
            logprobs = choice.get("logprobs") or {}
            self.tokens += [_checked(each, int) for each in logprobs.get("token_ids") or []]
            self.logprobs += [_checked(each, int, float) for each in logprobs.get("token_logprobs") or []]
            self.notes += [_checked(each, str) for each in choice.get("notes") or []]
            if reason := _checked(choice.get("finish_reason"), str):
                is_stopped = isinstance(choice.get("stop_reason"), str)  # vLLM tells the stop text that it met
                plain = {"stop": "stop" if is_stopped else "end"}.get(reason, "length")
                self.finish_reason = choice["ending"] if choice.get("ending") in ENDINGS else plain
        self.size += len(text) + len(self.tokens)
        if self.size > MAX_LINE:
            raise ValueError("it does not end")
        return text


def _checked(value: Any, *kinds: type) -> Any:
    """The value, if it is missing or of one of these kinds."""
    if value is not None and type(value) not in kinds:
        raise TypeError(f"{value!r:.40} is no {kinds[0].__name__}")
    return value


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust; reading it takes as long as a few tokens, so once for all stories."""
    import httpx

    return httpx.create_ssl_context()


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of server-sent events, one line each, up to the end mark."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise ValueError("a line has no end")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[len(b"data:") :].decode().strip()
                if data == "[DONE]":
                    return
                yield data


def _message(status: int, content: bytes) -> str:
    try:
        return f"{_message_in(json.loads(content))} ({status})"
    except (ValueError, AttributeError):
        return f"status {status}"


def _message_in(answer: Any) -> str:
    """The error message in one line: OpenAI's form, or those of other servers, where it is at the top."""
    error = answer.get("error") or answer
    message = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
    return " ".join(str(message).split())[:300]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
