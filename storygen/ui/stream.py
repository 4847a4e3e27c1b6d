"""Streaming to the page: at most so many updates a second, as each costs the server about 5 ms (Gradio 6.31)."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from storygen.ui.texts import say
from storygen.writer import StoryStream

T = TypeVar("T")
SECONDS_BETWEEN = 0.08
SECONDS_WAITING = 0.5
"""The same while there is no text: a place in the queue changes less often."""


@dataclass
class Pen:
    """Whether a session is having something written, and whether it wants that to stop.

    The writing event sees to it itself: when Gradio cancels one, updates that are on their way still arrive, after
    those of whatever cancelled it.
    """

    writes: bool = False
    stops: bool = False


def paced(items: Iterable[T], pause: Callable[[T], float]) -> Iterator[T]:
    """The first item at once, the last for certain, in between one only after its pause in seconds, or not at all."""
    shown_at, waiting, item = float("-inf"), False, None
    for item in items:
        waiting = True
        if time.monotonic() - shown_at >= pause(item):
            yield item
            shown_at, waiting = time.monotonic(), False
    if waiting:
        yield item


def growing(stream: StoryStream, text: str = "") -> Iterator[str]:
    """`text` and what has been written of a story so far, paced; when nobody reads on, the story is given up."""
    try:
        for written in paced(
            itertools.accumulate(stream), lambda written: SECONDS_BETWEEN if written else SECONDS_WAITING
        ):
            yield text + written
    finally:
        stream.close()


def progress(ahead: int | None) -> str:
    """A line on a story that is not finished, by how many come before it; None: it is its turn."""
    if ahead is None:
        return say("write.writing")
    if ahead == 0:
        return say("wait.next")
    return say("wait.one") if ahead == 1 else say("wait.many", count=ahead)


def spaced(items: Iterable[T], seconds: float = SECONDS_BETWEEN) -> Iterator[T]:
    """All items, one every `seconds`: for what is there already and is shown as if it were being written."""
    for number, item in enumerate(items):
        if number:
            time.sleep(seconds)
        yield item
