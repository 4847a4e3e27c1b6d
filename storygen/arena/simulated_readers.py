"""Simulated readers: they read the stories of real battles, and their taste is known.

With them the whole way from stories over votes to a tuned model can be walked, and its end compared with the taste it
began with. They say nothing about people.
"""

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from storygen.arena.battle import Arena
from storygen.arena.match import Side
from storygen.evaluation.diversity import repeated_share
from storygen.evaluation.stories import content_words, words_of

NOTE = "simulated"
"""The note of every vote of theirs."""
AT_ONCE = 8
"""Readers who read at the same time: as many battles as fill the engine's batch."""


@dataclass(frozen=True)
class Taste:
    """What a story gains with a reader, in logits."""

    ends: float = 2.0
    """For coming to its own end."""
    repeats: float = -10.0
    """For each share, 0 to 1, of its runs of four words that it had before."""
    title: float = 4.0
    """For each share, 0 to 1, of the title's content words that are in it."""

    def score(self, title: str, text: str, has_ended: bool) -> float:
        """How much a reader likes a story on a title."""
        repeated, runs = repeated_share(text)
        asked = content_words(title)
        told = len(asked & words_of(text)) / max(1, len(asked))
        return self.ends * has_ended + self.repeats * repeated / max(1, runs) + self.title * told


@dataclass(frozen=True)
class Readers:
    """People of one taste. They prefer a story with the chance of Bradley and Terry (1952), and shrug at equal ones."""

    taste: Taste = Taste()
    count: int = 60
    careless: float = 0.15
    """Share of them, the first ones, who toss a coin."""

    def is_careless(self, reader: int) -> bool:
        """Whether this one, from 0, tosses a coin."""
        return reader < round(self.careless * self.count)

    def verdict(self, reader: int, title: str, sides: Sequence[Side], draw: random.Random) -> str:
        """What a reader says of two stories."""
        left, right = (self.taste.score(title, side.text, side.finish_reason == "end") for side in sides)
        if self.is_careless(reader):
            return draw.choice(["left", "right"])
        if left == right:
            return "tie"
        return "left" if draw.random() < 1 / (1 + math.exp(right - left)) else "right"


def cast_votes(
    arena: Arena, readers: Readers, votes: int, seed: int = 0, done: Callable[[], object] = lambda: None
) -> None:
    """Has readers, in turn, judge so many blind battles on the arena's suggestions; `done` is called after each.

    Matches are written ahead, several at once, one for each suggestion; so each is read by up to three readers, and now
    and then a reader gets one again, as visitors do. The stories' seeds are the arena's to draw.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: arena.pool.fill(), arena.pool.suggestions))
    for number in range(votes):
        reader, session = (seed + number) % readers.count, f"simulated {seed} {number}"
        battle = arena.begin(session, arena.rater(f"simulated {reader}"))
        for _ in arena.show(battle):
            pass
        verdict = readers.verdict(reader, battle.match.prompt.title, battle.match.sides, random.Random(session))
        arena.judge(session, battle.id, verdict, note=NOTE)
        done()
