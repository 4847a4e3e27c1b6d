"""One function over many items, in several processes, with the results in the items' order."""

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from storygen.errors import StorygenError

BATCH_CHARACTERS = 100_000
"""Characters of text that are sent to a process together."""
In, Out = TypeVar("In"), TypeVar("Out")


def in_batches(items: Iterable[In], size: Callable[[In], int], limit: int) -> Iterator[list[In]]:
    """The items in lists that reach the limit in size, but for the last."""
    batch: list[In] = []
    held = 0
    for item in items:
        batch.append(item)
        held += size(item)
        if held >= limit:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


@contextlib.contextmanager
def mapped(function: Callable[[In], Out], workers: int) -> Iterator[Callable[[Iterable[In]], Iterator[Out]]]:
    """What maps items by the function, in so many processes, to which it is sent once; in this one if 0.

    StorygenError if one of them is killed.
    """
    if not workers:
        yield functools.partial(map, function)
        return
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), _start, (function,)) as pool:
            try:
                yield lambda items: map_in_order(pool, _call, items, 2 * workers)
            finally:
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool:
        raise StorygenError(
            "a worker process was killed, for want of memory perhaps; give fewer --workers and start again: what is "
            "finished is kept"
        ) from None


def map_in_order(pool: Executor, function: Callable[[In], Out], items: Iterable[In], ahead: int) -> Iterator[Out]:
    """As `map`, with so many items on their way at most: `Executor.map` would read all of them at once."""
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_function: Callable[[Any], Any]


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process for each core is enough
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that was."""
    parent_process().join()
    os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)
