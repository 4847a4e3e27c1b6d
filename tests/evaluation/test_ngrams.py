"""Against the textbook formula over dictionaries, which shares no line with the arrays of the model."""

import itertools
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from storygen.errors import StorygenError
from storygen.evaluation import ngrams
from storygen.evaluation.ngrams import FALLBACK, KneserNey

VOCABULARY = 5


def draw_stories(count, seed=0):
    """Stories over tokens 1 to 4 that begin with 0, some tokens much more common than others."""
    draw = random.Random(seed)
    return [[0, *draw.choices([1, 2, 3, 4], [8, 4, 2, 1], k=draw.randint(0, 12)), 4] for _ in range(count)]


def reference(stories, order, vocabulary):
    """The probability of a token after a context of order - 1 tokens, straight from Chen & Goodman 1999, section 3."""
    padded = [[story[0]] * (order - 1) + list(story[1:]) for story in stories]
    counts = {order: Counter(tuple(s[i - order : i]) for s in padded for i in range(order, len(s) + 1))}
    for length in range(order - 1, 0, -1):
        counts[length] = Counter(gram[1:] for gram in counts[length + 1])

    def discounts(length):
        n = Counter(counts[length].values())
        if not (n[1] and n[2] and n[3]):
            return FALLBACK
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
        return found if all(0 < d <= k for k, d in enumerate(found, 1)) else FALLBACK

    followers = defaultdict(dict)
    for grams in counts.values():
        for gram, count in grams.items():
            followers[gram[:-1]][gram[-1]] = count

    def probability(context, token):
        lower = probability(context[1:], token) if context else 1 / vocabulary
        if context not in followers:
            return lower
        d = discounts(len(context) + 1)
        seen = followers[context]
        total = sum(seen.values())
        count = seen.get(token, 0)
        taken = sum(d[min(c, 3) - 1] for c in seen.values())
        return (count - (d[min(count, 3) - 1] if count else 0) + taken * lower) / total

    return probability


@pytest.fixture
def order_three(monkeypatch):
    monkeypatch.setattr(ngrams, "LONGEST", 3)


@pytest.mark.parametrize("count", [1, 6, 200])
def test_probabilities_are_those_of_the_formula(order_three, count):
    """With little text the fallback discounts, with more the estimated ones."""
    stories = draw_stories(count)
    model, expected = KneserNey(stories, VOCABULARY), reference(stories, 3, VOCABULARY)
    for story in draw_stories(20, seed=1):
        padded = [story[0]] * 2 + story[1:]
        wanted = [expected(tuple(padded[i - 2 : i]), padded[i]) for i in range(2, len(padded))]
        np.testing.assert_allclose(model.probabilities(story), wanted, rtol=1e-12)


def test_probabilities_sum_to_one_after_any_context(order_three):
    """What discounting takes must be given out again, whether the context was seen or not."""
    model = KneserNey(draw_stories(100), VOCABULARY)
    for context in itertools.product(range(VOCABULARY), repeat=2):
        total = sum(model.probabilities([0, *context, token])[-1] for token in range(VOCABULARY))
        assert total == pytest.approx(1, abs=1e-12)


def test_more_context_predicts_better():
    """A story that repeats a cycle: only counting contexts can know what comes."""
    cycle = [0, *[1, 2, 3, 4] * 50]
    model = KneserNey([cycle], VOCABULARY)
    assert model.order == 8
    assert model.probabilities([0, 1, 2, 3, 4, 1, 2, 3, 4])[1:].min() > 0.9


def test_the_longest_n_gram_fits_into_a_whole_number():
    """Twelve bits a token leave room for five; a sixth would run over into another n-gram's number."""
    assert KneserNey([[4094, 5, 4095]], 4096).order == 5


def test_nothing_to_count():
    with pytest.raises(StorygenError, match="no text to count"):
        KneserNey([], VOCABULARY)
