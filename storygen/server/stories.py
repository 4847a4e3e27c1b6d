"""Stories for an event loop: a thread reads each from its writer, and one queue a request takes what they give.

Whatever ends a request early comes through the same queue as an error: the deadline, the server's end, a failure. A
client that hangs up closes the request, and its rows are free a moment later.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from storygen.config import GenerationConfig
from storygen.errors import RefusedError, StorygenError, UnavailableError
from storygen.server.errors import FailedError, LateError
from storygen.writer import Result, Writer

LOG = logging.getLogger("storygen.server")


@dataclass(frozen=True)
class Order:
    """A story that is asked for."""

    writer: Writer
    opening: str
    title: str
    config: GenerationConfig
    explain: bool


class Stories:
    """The stories of one request: an iterator over (number of the story, piece of its text, or at last its Result)."""

    def __init__(self, orders: Sequence[Order], seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._in_line: asyncio.Queue[StorygenError | None] = asyncio.Queue()
        self._news: asyncio.Queue[tuple[int, str | Result | StorygenError]] = asyncio.Queue()
        self._gone = threading.Event()
        self._unfinished = len(orders)
        self._timer = self._loop.call_later(seconds, self.end, LateError(f"not finished within {seconds:g} seconds"))
        for number, order in enumerate(orders):
            threading.Thread(target=self._read, args=(number, order), name="storygen-story", daemon=True).start()

    @property
    def are_unfinished(self) -> bool:
        """Whether there is more to come."""
        return self._unfinished > 0

    async def accepted(self) -> None:
        """Returns once all stories are in line; raises the StorygenError of one that is refused."""
        for _ in range(self._unfinished):
            error = await self._in_line.get()
            if error is not None:
                raise error

    async def __aiter__(self) -> AsyncIterator[tuple[int, str | Result]]:
        while self._unfinished:
            batch = [await self._news.get()]
            while not self._news.empty():  # text that has come meanwhile goes out in one piece
                batch.append(self._news.get_nowait())
            for (number, is_text), items in itertools.groupby(batch, lambda item: (item[0], isinstance(item[1], str))):
                values = [value for _, value in items]
                for news in ["".join(values)] if is_text else values:
                    if isinstance(news, StorygenError):
                        raise news
                    self._unfinished -= isinstance(news, Result)
                    yield number, news

    def end(self, error: StorygenError) -> None:
        """Ends the request with an error, unless it is over already."""
        self._news.put_nowait((0, error))

    def close(self) -> None:
        """Gives up what is unfinished."""
        self._timer.cancel()
        self._gone.set()

    def _read(self, number: int, order: Order) -> None:
        """The work of a thread."""
        is_accepted = False

        def tell(news: str | Result | StorygenError) -> None:
            self._put(self._news, (number, news)) if is_accepted else self._put(self._in_line, news)

        try:
            stream = order.writer.stream(order.opening, order.title, order.config, order.explain)
            self._put(self._in_line, None)
            is_accepted = True
            with contextlib.closing(stream):
                for piece in stream:
                    if self._gone.is_set():
                        return
                    if piece:
                        tell(piece)
                tell(stream.result)
        except (RefusedError, UnavailableError) as error:
            tell(error)
        except StorygenError as error:  # of a request that can't be met, or of a story that broke off
            tell(FailedError(str(error)) if is_accepted else error)
        except Exception:
            LOG.exception("a story failed")
            tell(FailedError("the server failed at this story"))

    def _put(self, queue: asyncio.Queue, item: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever listened
            self._loop.call_soon_threadsafe(queue.put_nowait, item)


class Desk:
    """Takes requests until the server is about to stop, and then sees to the end of those that it has."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """A request may take so long."""
        self.is_open = True
        self._taken: set[Stories] = set()

    def take(self, orders: Sequence[Order]) -> Stories:
        """The stories of a request, to be given back in any case; UnavailableError if the server is about to stop."""
        if not self.is_open:
            raise UnavailableError("the server is about to stop; ask another, or this one in a moment")
        stories = Stories(orders, self.seconds)
        self._taken.add(stories)
        return stories

    def give_back(self, stories: Stories) -> None:
        """The client has all, or wants no more."""
        stories.close()
        self._taken.discard(stories)

    def close(self, grace: float) -> None:
        """Takes no more requests, and ends those that are not finished after `grace` seconds with an error."""
        self.is_open = False
        asyncio.get_running_loop().call_later(grace, self._end_all)

    def _end_all(self) -> None:
        for stories in self._taken:
            stories.end(UnavailableError("the server was stopped before the story was finished"))
