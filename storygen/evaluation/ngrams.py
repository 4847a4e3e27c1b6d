"""An n-gram model over tokens with interpolated modified Kneser-Ney smoothing: what counting alone gets of a text.

Chen & Goodman 1999, section 3: the longest n-grams are counted in the text, shorter ones by how many different tokens
stand before them; three discounts (for counts of 1, 2, and 3 or more) are taken off and given to the next shorter
context, the last of which is no context at all: every token alike. It knows token ids only.

An n-gram is one whole number, the oldest token in its highest bits, so that counting is sorting.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storygen.errors import StorygenError

LONGEST = 8
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where a text is too small to tell them, as KenLM has them."""


@dataclass(frozen=True)
class Level:
    """All n-grams of one length: the probability of the last token is share + backoff * that of the level below."""

    grams: np.ndarray
    """Sorted (g)."""
    shares: np.ndarray
    """Discounted count over the count of the context (g)."""
    contexts: np.ndarray
    """All but the last token, sorted (c)."""
    backoffs: np.ndarray
    """What the discounts of a context add up to, over its count (c)."""


class KneserNey:
    """The model of some stories. A story is token ids, of which the first is given, as `Tokenizer.framed` makes it."""

    def __init__(self, stories: Iterable[Sequence[int]], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._bits = max(1, (vocab_size - 1).bit_length())
        self.order = min(LONGEST, 63 // self._bits)
        """Tokens in the longest n-gram: as many as fit into a whole number of 63 bits, at most LONGEST."""
        grams, counts = np.unique(self._grams(stories), return_counts=True)
        if not len(grams):
            raise StorygenError("there is no text to count n-grams in; give at least one story that is not empty")
        levels = [self._level(grams, counts)]
        for length in range(self.order - 1, 0, -1):
            grams, counts = np.unique(grams & self._mask(length), return_counts=True)
            levels.append(self._level(grams, counts))
        self._levels = levels[::-1]

    def nats(self, story: Sequence[int]) -> np.ndarray:
        """Negative log-probability of each token of a story but its first (tokens - 1,)."""
        return -np.log(self.probabilities(story))

    def probabilities(self, story: Sequence[int]) -> np.ndarray:
        """Of each token of a story but its first, after all that is before it (tokens - 1,)."""
        grams = self._grams([story])
        result = np.full(len(grams), 1 / self.vocab_size)
        for length, level in enumerate(self._levels, 1):
            key = grams & self._mask(length)
            share, _ = _look_up(level.grams, level.shares, key)
            backoff, known = _look_up(level.contexts, level.backoffs, key >> self._bits)
            result = np.where(known, share + backoff * result, result)
        return result

    def _mask(self, length: int) -> np.int64:
        return np.int64((1 << self._bits * length) - 1)

    def _grams(self, stories: Iterable[Sequence[int]]) -> np.ndarray:
        """The longest n-gram that ends at each token of the stories but their first, which stands for all before it."""
        tokens, scored = array("i"), array("b")
        before = self.order - 1
        for story in stories:
            tokens.extend([story[0]] * before)
            tokens.extend(story[1:])
            scored.extend([0] * before + [1] * (len(story) - 1))
        tokens, scored = np.array(tokens, dtype=np.int64), np.array(scored, dtype=bool)
        grams = np.zeros(len(tokens), dtype=np.int64)
        for back in range(min(self.order, len(tokens))):
            grams[back:] |= tokens[: len(tokens) - back] << (self._bits * back)
        return grams[scored]

    def _level(self, grams: np.ndarray, counts: np.ndarray) -> Level:
        discounts = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
        contexts, first = np.unique(grams >> self._bits, return_index=True)  # grams are sorted, so contexts are runs
        total = np.add.reduceat(counts, first)
        share = (counts - discounts) / np.repeat(total, np.diff(np.r_[first, len(grams)]))
        return Level(grams, share, contexts, np.add.reduceat(discounts, first) / total)


def _discounts(counts: np.ndarray) -> tuple[float, ...]:
    """What is taken off counts of 1, 2, and 3 or more (Chen & Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (int((counts == number).sum()) for number in range(1, 5))
    if not n1 or not n2 or not n3:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < each <= number for number, each in enumerate(found, 1)) else FALLBACK


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of the wanted keys, 0 where there is none, and which ones there are."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    known = keys[at] == wanted
    return np.where(known, values[at], 0.0), known
