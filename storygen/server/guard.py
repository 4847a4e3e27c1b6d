"""Around every request: a limit on what it sends and how long it takes to, safe headers, a line in the log.

Plain ASGI, as it also stands around the page, whose streams must not be held up.
"""

import asyncio
import logging
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storygen.server.errors import status_answer
from storygen.server.metrics import Metrics
from storygen.server.settings import ServerConfig

LOG = logging.getLogger("storygen.server")
SAFE = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"frame-ancestors 'none'; base-uri 'self'; object-src 'none'",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Headers of every answer. Scripts are not restricted further, as Gradio's page has them inline."""
API = "/v1/"
PAGE = "page"
"""What stands for the route of whatever is not ours."""


class TooLargeError(Exception):
    """The body is larger than it may be."""


class Guard:
    """Lets a request through to `app` once it is there as a whole."""

    def __init__(self, app: ASGIApp, config: ServerConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        entry = scope.setdefault("state", {})["log"] = {}
        started, status, app = time.monotonic(), 0, scope["app"]

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {**SAFE, b"x-request-id": request_id.encode()}
                if scope["path"].startswith(API):
                    headers[b"cache-control"] = b"no-store"
                message = {**message, "headers": [*message.get("headers", []), *headers.items()]}
            async with asyncio.timeout(self._config.request_seconds):  # a reader who stops reading is not waited for
                await send(message)

        try:
            await self._answer(scope, receive, send_safely)
        except Exception:
            LOG.exception("a request failed", extra={"fields": {"id": request_id}})
            if not status:
                await status_answer(500, "the server failed at this request")(scope, receive, send_safely)
        finally:
            seconds = time.monotonic() - started
            is_ours = scope["app"] is app and "route" in scope
            route = scope["route"].path if is_ours else PAGE
            self._note(scope, route, {"id": request_id, "status": status, "seconds": round(seconds, 4), **entry})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._config.body_seconds):
                body = await _read(receive, self._config.body_bytes)
        except TooLargeError:
            answer = status_answer(413, f"a request may have {self._config.body_bytes:,} bytes at most")
        except TimeoutError:
            answer = status_answer(408, f"the request was not there after {self._config.body_seconds:g} seconds")
        else:
            if body is not None:
                await self._app(scope, _replay(body, receive), send)
            return
        answer.headers["connection"] = "close"  # so that the rest is not read
        await answer(scope, receive, send)

    def _note(self, scope: Scope, route: str, entry: dict[str, Any]) -> None:
        status = entry["status"]
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(entry["seconds"])
        if scope["path"].startswith(API) or status >= 500:
            told = {"method": scope["method"], "path": scope["path"], "address": address_of(scope), **entry}
            LOG.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra={"fields": told})


def address_of(scope: Scope) -> str:
    """Where a request comes from, as far as the server or the proxy before it can tell."""
    return scope["client"][0] if scope.get("client") else ""


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body; None if the client has gone before it was there."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLargeError
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what comes."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed
