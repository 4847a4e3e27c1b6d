"""How much stories repeat themselves and each other, counted in words: lower case, without marks."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from storygen.data.words import Words
from storygen.errors import StorygenError

ZIPF_RANKS = 5000
"""The law is fitted to this many of the most frequent words at most."""


def repeated_share(text: str, length: int = 4) -> tuple[int, int]:
    """How many runs of `length` words a text repeats, and how many it has (seq-rep-4, Welleck et al. 2020)."""
    runs = _runs(Words(text).list, length)
    return len(runs) - len(set(runs)), len(runs)


def is_loop(text: str, times: int = 3) -> bool:
    """Whether the text ends in a phrase of two words or more that is there `times` times in a row.

    The loop of Holtzman et al. 2020; it may be cut anywhere in the phrase.
    """
    words = Words(text).list
    return any(
        words[-times * period : -period] == words[-(times - 1) * period :]
        for period in range(2, len(words) // times + 1)
    )


def first_words(texts: Sequence[str], count: int) -> list[list[bytes]] | None:
    """The words of the texts, the first `count` of all together; None if there are fewer.

    Shares of different words fall with length, so they are comparable over a fixed number of words only.
    """
    left, kept = count, []
    for text in texts:
        kept.append(Words(text).list[:left])
        left -= len(kept[-1])
        if not left:
            return kept
    return None


def distinct(texts: Sequence[Sequence[bytes]], length: int) -> float:
    """Different runs of `length` words over all runs, none of which spans two texts (distinct-n, Li et al. 2016)."""
    runs = [run for words in texts for run in _runs(words, length)]
    if not runs:
        raise StorygenError(f"no text has {length} words, so there is no run of them to count")
    return len(set(runs)) / len(runs)


def zipf(texts: Sequence[Sequence[bytes]]) -> float | None:
    """The s of frequency ~ rank^-s: minus the slope of a line through log frequency over log rank (least squares).

    None if there are not two different words.
    """
    counts = sorted(Counter(word for words in texts for word in words).values(), reverse=True)[:ZIPF_RANKS]
    if len(counts) < 2:
        return None
    return float(-np.polyfit(np.log(np.arange(1, len(counts) + 1)), np.log(counts), 1)[0])


def _runs(words: Sequence[bytes], length: int) -> list[tuple[bytes, ...]]:
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
