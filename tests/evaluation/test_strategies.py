import math
from dataclasses import replace

import pytest

from storygen.config import STRATEGIES
from storygen.errors import StorygenError
from storygen.evaluation import strategies
from storygen.evaluation.continuations import Continuation
from storygen.evaluation.memorisation import Copy, build_index
from storygen.evaluation.overlap import bleu, others_bleu
from storygen.evaluation.strategies import GRID, measure

PEOPLE = [
    Continuation(" The fox ran home to her den in the wood.", True, 10, 20.0),
    Continuation(" A bear baked bread for the fox and her mother. Sh", False, 12, 30.0),
]
WRITTEN = [
    Continuation(" The glumbe ran home to the den in the wood. He ran. He ran. He ran. H", False, 20, 10.0),
    Continuation(" A bear baked bread.", True, 5, 15.0),
]
INDEX = build_index(["Then the fox ran home to the den in the wood. A bear he baked bread for her mother and."])
COPIES = [None, Copy(9, "", "", "", 1)]


def test_every_strategy_is_in_the_grid_and_nothing_twice():
    assert {config.strategy for config in GRID} == set(STRATEGIES)
    assert len(set(GRID)) == len(GRID)


def test_figures_of_known_continuations(monkeypatch):
    monkeypatch.setattr(strategies, "COUNTED_WORDS", 10)
    figures = measure(WRITTEN, PEOPLE, INDEX, COPIES)
    texts, references = [each.whole for each in WRITTEN], [each.whole for each in PEOPLE]
    assert figures.stories == 2
    assert figures.nats_per_token == 25 / 25
    assert figures.perplexity == math.e
    assert figures.repetition == 1 / (13 + 1)  # "he ran he ran", once more
    assert figures.loops == 1 / 2
    assert figures.bleu == bleu(texts, [references])[0]
    assert figures.like_people == others_bleu(texts, references)
    assert figures.self_bleu == others_bleu(texts)
    assert figures.distinct == (8 / 10, 9 / 9, 8 / 8)  # "the" three times; no word of the second story
    assert (figures.words, figures.ended) == (10, 1 / 2)
    assert figures.unseen_words == 1 / 20
    assert figures.seen_runs == 1 / 9
    assert (figures.copied, figures.copied_median) == (9, 4.5)


def test_people_are_not_compared_with_themselves():
    """A BLEU of 100 beside the models' looks like a figure."""
    figures = measure(PEOPLE, PEOPLE, INDEX, COPIES)
    assert figures.bleu is None
    assert figures.like_people == figures.self_bleu
    assert figures.distinct is None and figures.zipf is None  # under 3,000 words


def test_a_model_that_writes_nothing_in_one_story():
    empty = replace(WRITTEN[1], text="")
    figures = measure([WRITTEN[0], empty], PEOPLE, INDEX, COPIES)
    assert figures.words == 8
    with pytest.raises(StorygenError, match="none of the continuations has a word"):
        measure([empty, empty], PEOPLE, INDEX, COPIES)


def test_continuations_of_other_stories():
    with pytest.raises(StorygenError, match="2 continuations, 1 of people, 2 copies: they must be of the same stories"):
        measure(WRITTEN, PEOPLE[:1], INDEX, COPIES)
