"""How much a client may ask for: so many requests a minute, so many stories at once."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from storygen.errors import StorygenError
from storygen.server.errors import TooManyError

KEPT_CLIENTS = 10_000
"""Beyond this many, the client that has been idle longest is forgotten, so that many addresses fill no memory."""


@dataclass
class _Client:
    left: float
    """Requests that it may make at once; grows with time."""
    seen_at: float
    rows: int = 0
    """Stories in progress, beams counted."""


class Limits:
    """Keeps account of clients, each known by a name."""

    def __init__(
        self, requests_per_minute: int, rows_per_client: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.requests_per_minute, self.rows_per_client, self._clock = requests_per_minute, rows_per_client, clock
        self._clients: OrderedDict[str, _Client] = OrderedDict()  # those seen last at the end

    def charge(self, name: str) -> None:
        """Counts a request, right or wrong; TooManyError if it is one too many.

        A minute's requests may come in one burst (a token bucket).
        """
        client = self._client(name)
        if self.requests_per_minute:
            if client.left < 1:
                wait = (1 - client.left) * 60 / self.requests_per_minute
                raise TooManyError(f"more than {self.requests_per_minute} requests in a minute", wait)
            client.left -= 1

    def admit(self, name: str, rows: int) -> None:
        """Takes so many rows into account, to be released; TooManyError if the client has too many."""
        if rows > self.rows_per_client:
            raise StorygenError(
                f"prompts x n x beams is {rows}; a request may ask for {self.rows_per_client} stories at most"
            )
        client = self._client(name)
        if client.rows + rows > self.rows_per_client:
            message = f"{client.rows} stories are in progress for you, of {self.rows_per_client} that may be"
            raise TooManyError(message, 1.0)
        client.rows += rows

    def release(self, name: str, rows: int) -> None:
        """The request of so many rows is over."""
        self._clients[name].rows -= rows

    def _client(self, name: str) -> _Client:
        now, rate = self._clock(), self.requests_per_minute
        client = self._clients.setdefault(name, _Client(rate, now))
        client.left = min(client.left + (now - client.seen_at) * rate / 60, rate)
        client.seen_at = now
        self._clients.move_to_end(name)
        if len(self._clients) > KEPT_CLIENTS:
            idle = next((each for each, client in self._clients.items() if not client.rows), None)
            if idle not in (None, name):
                del self._clients[idle]
        return client
