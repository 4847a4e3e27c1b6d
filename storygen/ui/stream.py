"""Streaming to the page: at most so many updates a second, as each costs the server about 5 ms (Gradio 6.31)."""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from storygen.writer import StoryStream

T = TypeVar("T")
SECONDS_BETWEEN = 0.08


@dataclass
class Pen:
    """Whether a session is having something written, and whether it wants that to stop.

    The writing event sees to it itself: when Gradio cancels one, updates that are on their way still arrive, after
    those of whatever cancelled it.
    """

    writes: bool = False
    stops: bool = False


def paced(items: Iterable[T], seconds: float = SECONDS_BETWEEN) -> Iterator[T]:
    """The first item at once, the last for certain, in between at most one per `seconds`; the rest are passed over."""
    shown_at, waiting, item = float("-inf"), False, None
    for item in items:
        waiting = True
        if time.monotonic() - shown_at >= seconds:
            yield item
            shown_at, waiting = time.monotonic(), False
    if waiting:
        yield item


def growing(stream: StoryStream, text: str = "") -> Iterator[str]:
    """`text` and what has been written of a story so far, paced; when nobody reads on, the story is given up."""
    try:
        yield from paced(text + written for written in itertools.accumulate(stream))
    finally:
        stream.close()


def spaced(items: Iterable[T], seconds: float = SECONDS_BETWEEN) -> Iterator[T]:
    """All items, one every `seconds`: for what is there already and is shown as if it were being written."""
    for number, item in enumerate(items):
        if number:
            time.sleep(seconds)
        yield item
