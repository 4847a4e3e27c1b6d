"""uvicorn, with an end to those who connect and say nothing, and to the stories when the server is told to stop."""

import asyncio
import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from storygen.server.settings import ServerConfig

MAX_CONNECTIONS = 1000
"""More are told to come again."""
PROXIES = "FORWARDED_ALLOW_IPS"
"""uvicorn's variable: whose word on clients' addresses is taken. Without it nobody's is, not even this machine's."""
SECONDS_AFTER_GRACE = 5
"""For the error messages to arrive."""


class PatientProtocol(H11Protocol):
    """Closes a connection on which no request has begun for `head_seconds`, or none since the last one was answered.

    uvicorn has a limit between requests only: whoever sends half a header could stay for ever.
    """

    head_seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._seen = self.cycle
        self._timer = self.loop.call_later(self.head_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle if is_idle else object()
        self._timer = self.loop.call_later(self.head_seconds, self._look)


class GracefulServer(uvicorn.Server):
    """Lets stories be finished when it is told to stop, for as long as the settings say."""

    def __init__(self, settings: uvicorn.Config, app: FastAPI, grace_seconds: float) -> None:
        super().__init__(settings)
        self._app, self._grace_seconds = app, grace_seconds

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        self._app.state.desk.close(self._grace_seconds)
        for end in self._app.state.at_end:
            end()
        await super().shutdown(sockets)


def server_for(app: FastAPI, config: ServerConfig) -> GracefulServer:
    """A server of the app, ready to run."""
    protocol = type("Protocol", (PatientProtocol,), {"head_seconds": config.body_seconds})
    settings = uvicorn.Config(
        app, host=config.host, port=config.port, http=protocol, ws="none", log_config=None, access_log=False,
        server_header=False, proxy_headers=PROXIES in os.environ, limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(config.grace_seconds) + SECONDS_AFTER_GRACE,
    )  # fmt: skip
    return GracefulServer(settings, app, config.grace_seconds)
