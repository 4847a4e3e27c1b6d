import math

import numpy as np
import pytest

from storygen.errors import StorygenError
from storygen.evaluation.bootstrap import difference, interval, resampled_sums
from storygen.evaluation.likelihood import Likelihood


def measured(nats, size=None):
    size = np.full(len(nats), 100) if size is None else np.asarray(size)
    return Likelihood(np.asarray(nats, dtype=float), size, size, size)


def test_sums_are_of_stories_drawn_as_a_whole():
    """Nats and bytes of one story must be drawn together: each column alone would make the interval far too wide."""
    size = np.array([1.0, 10.0, 100.0, 1000.0])
    nats, drawn = resampled_sums([2 * size, size], replicates=50).T
    assert nats == pytest.approx(2 * drawn)
    assert len(set(drawn)) > 10


def test_the_interval_is_that_of_the_normal_approximation():
    """Of many stories of one size: the mean, and 1.96 standard errors on either side."""
    nats = np.random.default_rng(1).normal(200, 30, 2000)
    low, high = interval(measured(nats))
    scale = 100 * math.log(2)
    error = nats.std() / math.sqrt(len(nats)) / scale
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (high + low) / 2 == pytest.approx(nats.mean() / scale, abs=0.2 * error)
    assert interval(measured(nats)) == (low, high)  # the same draws each time


def test_pairing_finds_a_difference_smaller_than_either_interval():
    """Stories differ much more than models do, and the same stories are hard for both."""
    hard = np.random.default_rng(1).normal(200, 60, 100)
    first, second = measured(hard), measured(hard + np.random.default_rng(2).normal(2, 4, 100))
    (low, _), (_, high) = interval(second), interval(first)
    assert low < high  # the intervals overlap
    found = difference(first, second)
    assert found.is_real
    assert found.high < 0
    assert found.p == pytest.approx(1 / 1000)
    assert difference(second, first).value == pytest.approx(-found.value)


def test_no_difference_is_not_called_real():
    hard = np.random.default_rng(1).normal(200, 60, 100)
    noise = np.random.default_rng(2).normal(0, 4, 100)
    found = difference(measured(hard), measured(hard + noise - noise.mean()))
    assert not found.is_real
    assert found.p > 0.5
    same = difference(measured(hard), measured(hard))
    assert (same.value, same.low, same.high, same.p, same.is_real) == (0, 0, 0, 1, False)


def test_false_alarms_are_as_rare_as_the_interval_says():
    """Of models that are alike about one pair in twenty is called different; a wrong bootstrap calls many or none."""
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        hard = draw.normal(200, 60, 60)
        one, other = (measured(hard + draw.normal(0, 10, 60)) for _ in range(2))
        alarms += difference(one, other, replicates=200).is_real
    assert 3 <= alarms <= 24


def test_a_single_story_tells_nothing_of_spread():
    assert interval(measured([200])) is None
    assert difference(measured([200]), measured([210])) is None


def test_other_stories_are_not_compared():
    with pytest.raises(StorygenError, match="on the same stories only"):
        difference(measured([1, 2], [10, 20]), measured([1, 2], [10, 30]))
