"""The forms in which a training story meets the prompt slot: its title, its prompt, keywords, or nothing.

People type titles, prompts and loose words; a model that has seen all forms follows all of them.
"""

import math
import random
import re
from collections import Counter

from storygen.data.story import Story

CONTINUED = "(continued)"
"""Stands behind the title in the prompt of a piece that does not begin its story, so that the model can tell."""
_WORD = re.compile(r"[^\W\d_]{4,}")


class Keywords:
    """Picks the words that tell a story apart from others, by TF-IDF."""

    def __init__(self) -> None:
        self._stories_with: Counter[str] = Counter()
        self._stories = 0

    def learn(self, text: str) -> None:
        """Counts one story's words once each."""
        self._stories_with.update(set(_WORD.findall(text.lower())))
        self._stories += 1

    def top(self, text: str, count: int = 8) -> list[str]:
        """The `count` words with the highest term frequency times log inverse document frequency, best first.

        A word that no other learnt story has is left out: it is a name or a slip, and nobody would ask for it.
        """
        frequency = Counter(_WORD.findall(text.lower()))
        weight = {
            word: times * math.log(self._stories / self._stories_with[word])
            for word, times in frequency.items()
            if self._stories_with[word] > 1
        }
        return sorted(weight, key=lambda word: (-weight[word], word))[:count]


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
