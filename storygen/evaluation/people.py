"""Whether automatic figures agree with people: contestants ranked by votes beside the same ranked by each figure.

The ranking of people is the arena's (`storygen.arena.ranking`). Figures are of two kinds: what the stories that were
voted on are like, and what an evaluation's record says of the model that wrote them. They are compared by rank, as only
the order can be: Spearman's rho, and Kendall's tau-b with its p. Nothing is said of too few contestants or votes.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storygen.arena.ledger import Ledger
from storygen.arena.ranking import ENOUGH, rank
from storygen.evaluation.diversity import repeated_share
from storygen.evaluation.stories import content_words

ENOUGH_CONTESTANTS = 6
"""Of fewer no order is surprising: of four, Kendall's tau is 1 by chance once in 24 times."""
SIMULATED = "simulated"
"""What `app_version` says of votes that no person gave."""

Figures = dict[str, dict[str, float]]
"""Name of a figure -> contestant -> value, signed so that more should be better."""


@dataclass(frozen=True)
class Correlation:
    """How far one figure orders contestants as people do."""

    figure: str
    contestants: int
    spearman: float
    kendall: float
    p: float
    """Of Kendall's tau, if the two orders had nothing to do with each other."""


def correlate(ratings: Mapping[str, float], figures: Figures) -> list[Correlation]:
    """Each figure beside the ratings, over the contestants that have both.

    Left out is what has too few of them, or the same value for all.
    """
    from scipy.stats import kendalltau, spearmanr  # slow to import

    found = []
    for name, values in figures.items():
        both = [each for each in ratings if each in values]
        people, counted = [ratings[each] for each in both], [values[each] for each in both]
        if len(both) >= ENOUGH_CONTESTANTS and len(set(counted)) > 1 and len(set(people)) > 1:
            tau = kendalltau(people, counted)
            rho = spearmanr(people, counted).statistic
            found.append(Correlation(name, len(both), float(rho), float(tau.statistic), float(tau.pvalue)))
    return found


def people_section(ledger: Ledger, record: Mapping[str, Any]) -> dict[str, Any]:
    """The section `people` of a record: correlations, or no more than that there is too little to compare."""
    standings = rank(ledger.ballots()).standings
    ratings = {row.name: row.rating for row in standings if row.rank is not None and row.group == 0}
    counted = np.flatnonzero(ledger.reasons() == 0)
    votes = [ledger.record(row) for row in counted]
    figures = {**figures_of_stories(ledger, counted), **figures_of_models(ledger, record)}
    found = correlate(ratings, figures) if len(ratings) >= ENOUGH_CONTESTANTS else []
    return {
        "method": (
            "Rank correlation of each figure with the arena's ratings (`storygen.arena`), over the contestants with "
            f"{ENOUGH} votes and more that games connect; at least {ENOUGH_CONTESTANTS} of them. p is that of "
            "Kendall's tau; among many figures some have a small p by chance."
        ),
        "votes": len(counted),
        "raters": len({vote["rater"] for vote in votes}),
        "contestants": len(ratings),
        "simulated": sum(vote.get("app_version") == SIMULATED for vote in votes),
        "figures": [
            {
                "figure": each.figure,
                "contestants": each.contestants,
                **{key: round(getattr(each, key), 4) for key in ("spearman", "kendall", "p")},
            }
            for each in found
        ],
    }


def figures_of_stories(ledger: Ledger, rows: Sequence[int]) -> Figures:
    """What the stories in these votes are like, by contestant."""
    names, written = ledger.names(), defaultdict(list)
    left, right = ledger.column("left"), ledger.column("right")
    for row in rows:
        vote = ledger.record(row)
        written[names[left[row]]].append((vote["prompt"]["title"], vote["left"]))
        written[names[right[row]]].append((vote["prompt"]["title"], vote["right"]))
    return {figure: {name: measure(told) for name, told in written.items()} for figure, measure in OF_STORIES.items()}


def figures_of_models(ledger: Ledger, record: Mapping[str, Any]) -> Figures:
    """What the record says of each contestant's model, the same for all of its ways of decoding."""
    figures: Figures = defaultdict(dict)
    for name, entrant in zip(ledger.names(), ledger.entrants, strict=True):
        entry = record.get("models", {}).get(entrant.model, {})
        if entry.get("revision") != entrant.revision:
            continue  # other weights
        for text, each in entry.get("likelihood", {}).get("texts", {}).items():
            figures[f"bits per byte of the model on {text}, fewer"][name] = -each["bits_per_byte"]
    return figures


Told = Sequence[tuple[str, dict[str, Any]]]
"""Prompts, and the sides of votes with the stories that were written for them."""


def _likelihood(told: Told) -> float:
    return sum(side["logprob"] for _, side in told) / max(1, sum(side["bytes"] for _, side in told))


def _unrepeated(told: Told) -> float:
    counts = [repeated_share(side["text"]) for _, side in told]
    return -sum(again for again, _ in counts) / max(1, sum(of for _, of in counts))


def _words(told: Told) -> float:
    return sum(len(side["text"].split()) for _, side in told) / len(told)


def _ended(told: Told) -> float:
    return sum(side["finish_reason"] == "end" for _, side in told) / len(told)


def _asked(told: Told) -> float:
    asked = [(content_words(prompt), content_words(side["text"])) for prompt, side in told]
    return sum(len(words & story) for words, story in asked) / max(1, sum(len(words) for words, _ in asked))


OF_STORIES: dict[str, Callable[[Told], float]] = {
    "log-probability per byte under its own model, higher": _likelihood,
    "runs of four words repeated, fewer": _unrepeated,
    "words, more": _words,
    "stories that end by themselves, more": _ended,
    "content words of the prompt in the story, more": _asked,
}
"""Figures of the stories that people voted on, in words that tell which way is up."""
