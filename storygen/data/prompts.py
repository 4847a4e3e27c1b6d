"""The forms in which a training story meets the prompt slot: its title, its prompt, keywords, or nothing.

People type titles, prompts and loose words; a model that has seen all forms follows all of them.
"""

import heapq
import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Sequence

from storygen.data.story import Story

CONTINUED = "(continued)"
"""Stands behind the title in the prompt of a piece that does not begin its story, so that the model can tell."""
SHORTEST = 4
"""Letters of a keyword at least."""
_WORD = re.compile(r"[^\W\d_]+")
_NO_LETTERS = {byte: " " for byte in range(128) if not chr(byte).isalpha()}


class Keywords:
    """Picks the words that tell a story apart from others, by TF-IDF."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Learns from the texts in how many of them a word is.

        A word that is in one only is left out: it is a name or a slip, and nobody would ask for it.
        """
        texts_with = Counter(itertools.chain.from_iterable(set(_words(text)) for text in texts))
        self._weight = {
            word: math.log(len(texts) / count)
            for word, count in texts_with.items()
            if count > 1 and len(word) >= SHORTEST
        }

    def top(self, text: str, count: int = 8) -> list[str]:
        """The `count` words with the highest term frequency times log inverse document frequency, best first."""
        frequency = Counter(filter(self._weight.__contains__, _words(text)))
        best = heapq.nsmallest(count, ((-times * self._weight[word], word) for word, times in frequency.items()))
        return [word for _, word in best]


def draw_keywords(text: str, keywords: Keywords, draw: random.Random) -> str:
    """One to four of the words that tell a text apart, in any order."""
    words = keywords.top(text)
    return ", ".join(draw.sample(words, min(len(words), draw.randint(1, 4))))


def draw_continuation(title: str, text: str, keywords: Keywords, draw: random.Random) -> str:
    """The prompt of a piece that does not begin its story: the title, and half of the time keywords of the piece."""
    words = draw_keywords(text, keywords, draw) if draw.random() < 0.5 else ""
    return f"{title} {CONTINUED}".strip() + (f": {words}" if words else "")


def draw_prompt(story: Story, keywords: Keywords, draw: random.Random) -> str:
    """One form of the prompt, each kind that the story has equally likely, or "" for none."""
    kind = draw.choice([name for name in ("title", "prompt", "keywords", "nothing") if getattr(story, name, True)])
    if kind == "keywords":
        return draw_keywords(story.text, keywords, draw)
    return "" if kind == "nothing" else getattr(story, kind)


def _words(text: str) -> list[str]:
    text = text.lower()
    if text.isascii():  # three times as fast
        return text.translate(_NO_LETTERS).split()
    return _WORD.findall(text)
