"""Streaming to the page: at most so many updates a second, as each costs the server about 5 ms (Gradio 6.31)."""

import itertools
import time
from collections.abc import Iterable, Iterator
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


def paced(texts: Iterable[str], between: float = SECONDS_BETWEEN, waiting: float = SECONDS_WAITING) -> Iterator[str]:
    """Of a text that grows, its first word at once, and then what there is every so many seconds; the last for certain.

    An update of a comma alone, or of nothing, would keep the first word from the screen for the pause after it.
    """
    shown, shown_at, text = "", time.monotonic(), None
    for text in texts:
        pause = waiting if not _has_word(text) else between if _has_word(shown) else 0
        if time.monotonic() - shown_at >= pause:
            yield text
            shown, shown_at, text = text, time.monotonic(), None
    if text is not None:
        yield text


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)


def growing(stream: StoryStream, text: str = "") -> Iterator[str]:
    """`text` and what has been written of a story so far, paced; when nobody reads on, the story is given up."""
    try:
        yield from (text + written for written in paced(itertools.accumulate(stream)))
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
