"""Raters whose taste is known, to see whether the ranking finds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storygen.arena.contestants import Contestant
from storygen.arena.ranking import CENTRE, SCALE, Ballots, Games, design_for, fit, rank, sigmoid
from storygen.arena.suggestions import SUGGESTIONS
from storygen.arena.votes import VoteStore


@dataclass(frozen=True)
class World:
    """Contestants of known strength, and the people who rate them."""

    strengths: np.ndarray
    """In logits."""
    raters: int = 100
    careless: float = 0.15
    """Share of raters who toss a coin."""
    bias: float = 0.2
    """Mean of what the left side gains with a rater, in logits; raters differ by twice that."""
    taste: float = 0.5
    """How far raters differ in what they think of a contestant: a standard deviation, in logits."""
    ties: float = 0.15
    """Share of votes for neither."""


def draw_ballots(world: World, votes: int, rng: np.random.Generator) -> Ballots:
    """Votes on random pairs; some raters vote much more than others."""
    count = len(world.strengths)
    activity = rng.exponential(size=world.raters)
    rater = rng.choice(world.raters, votes, p=activity / activity.sum())
    careless = rng.random(world.raters) < world.careless
    liking = world.strengths + rng.normal(0, world.taste, (world.raters, count))
    side = rng.normal(world.bias, 2 * world.bias, world.raters)
    left = rng.integers(count, size=votes)
    right = (left + rng.integers(1, count, size=votes)) % count
    chance = sigmoid(liking[rater, left] - liking[rater, right] + side[rater])
    chance[careless[rater]] = 0.5
    outcome = (rng.random(votes) < chance).astype(float)
    outcome[rng.random(votes) < world.ties] = 0.5
    return Ballots(tuple(f"contestant {i + 1}" for i in range(count)), left, right, outcome, rater, np.zeros(votes))


def true_ratings(world: World, rng: np.random.Generator) -> np.ndarray:
    """The ratings that endlessly many votes of endlessly many such raters give: what intervals should cover.

    Not `strengths`: raters who differ or toss coins make everybody look more alike.
    """
    count = len(world.strengths)
    left, right = np.nonzero(~np.eye(count, dtype=bool))
    other = rng.normal(0, world.taste * 2**0.5, 20_000) + rng.normal(world.bias, 2 * world.bias, 20_000)
    gaps = world.strengths[left] - world.strengths[right]
    chance = sigmoid(gaps[:, None] + other).mean(axis=1)
    chance = (1 - world.ties) * ((1 - world.careless) * chance + world.careless / 2) + world.ties / 2
    design = design_for(Games(left, right, np.zeros(len(left)), np.array([], int)), np.eye(count), False)
    played = np.full(len(left), 1e6)
    strengths = fit(design, played, played * chance)[:count]
    return CENTRE + SCALE * (strengths - strengths.mean())


def coverage(contestants: int, votes: int, raters: int, trials: int, seed: int = 0, replicates: int = 100) -> float:
    """Share of 95 % intervals that hold the true rating, over many worlds of that size."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(trials):
        world = World(rng.normal(0, 0.7, contestants), raters)
        truth = true_ratings(world, rng)
        ballots = draw_ballots(world, votes, rng)
        rows = {row.name: row for row in rank(ballots, replicates=replicates, seed=int(rng.integers(2**31))).standings}
        held += sum(rows[name].low <= t <= rows[name].high for name, t in zip(ballots.contestants, truth, strict=True))
    return held / (trials * contestants)


def write_votes(folder: Path, contestants: Sequence[Contestant], votes: int, raters: int, seed: int = 0) -> VoteStore:
    """Votes as the arena records them, on contestants of drawn strengths: to see a leaderboard with something in it.

    The stories are no stories, and `app_version` says that it is simulated.
    """
    rng = np.random.default_rng(seed)
    world = World(rng.normal(0, 0.7, len(contestants)), raters)
    ballots = draw_ballots(world, votes, rng)
    store = VoteStore(folder)
    verdicts = {1.0: "left", 0.0: "right", 0.5: "tie"}
    for number in range(votes):
        left, right = (_side(contestants, world, int(i), number) for i in (ballots.left[number], ballots.right[number]))
        store.append(
            {
                "battle_id": f"simulated-{seed}-{number}",
                "rater": f"simulated-{ballots.rater[number]}",
                "mode": "blind",
                "prompt": {"title": SUGGESTIONS[number % len(SUGGESTIONS)], "opening": ""},
                "prompt_source": "suggestion",
                "left": left,
                "right": right,
                "verdict": verdicts[float(ballots.outcome[number])],
                "tags": [],
                "note": "",
                "dwell_ms": 30_000,
                "app_version": "simulated",
            }
        )
    return store


def _side(contestants: Sequence[Contestant], world: World, number: int, vote: int) -> dict[str, Any]:
    contestant = contestants[number]
    text = f"Simulated story {vote} of {contestant.model}."
    return {
        "model": contestant.model,
        "revision": "simulated",
        "config": contestant.config.replace(seed=vote).to_dict(),
        "seed": vote,
        "text": text,
        "logprob": -len(text) * (0.9 - 0.1 * float(world.strengths[number])),
        "bytes": len(text),
        "finish_reason": "end",
    }
