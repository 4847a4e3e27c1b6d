import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storygen.config import STRATEGIES, GenerationConfig
from storygen.decoding import choose, filter_logits
from storygen.decoding.filters import FILTERS, temperature, top_k, top_p


def kept(logits):
    return [i for i, value in enumerate(logits.tolist()) if value > -math.inf]


def logs(*probabilities):
    return torch.tensor(probabilities).log()


def test_every_setting_of_a_sampling_strategy_has_its_filter():
    """A strategy whose slider does nothing would be a silent lie in the comparison."""
    for name, settings_used in STRATEGIES.items():
        assert name == "beam" or all(setting in FILTERS for setting in settings_used)


def test_top_k_keeps_exactly_k_when_logits_tie():
    """`transformers` keeps 3 of [3, 2, 2, 1] for k = 2."""
    assert kept(top_k(torch.tensor([3.0, 2.0, 2.0, 1.0]), 2)) == [0, 1]
    assert kept(top_k(torch.zeros(5), 3)) == [0, 1, 2]


def test_top_k_larger_than_the_vocabulary_keeps_all():
    assert kept(top_k(torch.zeros(5), 50)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("p", "count"), [(0.0, 1), (0.5, 1), (0.500001, 2), (0.8, 2), (0.95, 3), (1.0, 3)])
def test_top_p_at_its_boundaries(p, count):
    """The values of `transformers`; the token that crosses the boundary stays."""
    assert len(kept(top_p(logs(0.5, 0.3, 0.2), p))) == count


def test_top_p_breaks_ties_by_index():
    """`transformers` keeps the last two here."""
    assert kept(top_p(logs(0.25, 0.25, 0.25, 0.25), 0.5)) == [0, 1]


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=50),
    k=st.integers(1, 60),
    p=st.floats(0, 1),
)
def test_filters_remove_but_never_change_or_empty(values, k, p):
    logits = torch.tensor(values)
    for filtered in (top_k(logits, k), top_p(logits, p)):
        alive = filtered > -math.inf
        assert alive.any()
        assert torch.equal(filtered[alive], logits[alive])
    assert len(kept(top_k(logits, k))) == min(k, len(values))


@pytest.mark.parametrize("t", [1e-45, 1e-40, 1e-3, 2.0])
def test_no_temperature_is_too_small(t):
    """Dividing first overflows, and the probabilities of infinities are not numbers."""
    probabilities = temperature(torch.tensor([5.0, 4.0, -3.0]), t).softmax(dim=-1)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities.argmax() == 0


def test_filters_work_row_by_row():
    torch.manual_seed(0)
    logits = torch.randn(3, 20)
    for name, value in (("temperature", 0.7), ("top_k", 5), ("top_p", 0.6)):
        rows = torch.stack([FILTERS[name](row, value) for row in logits])
        assert torch.equal(FILTERS[name](logits, value), rows), name


def test_order_is_temperature_first_then_top_k_then_top_p():
    """Top-p must see the distribution that temperature and top-k have left, renormalised."""
    torch.manual_seed(0)
    logits = torch.randn(30)
    config = GenerationConfig(strategy="top_k_top_p", temperature=1.5, top_k=10, top_p=0.7)
    assert torch.equal(filter_logits(logits, config), top_p(top_k(temperature(logits, 1.5), 10), 0.7))


@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(strategy="greedy"),
        GenerationConfig(strategy="sample", temperature=0.0),
        GenerationConfig(strategy="top_k_top_p", temperature=0.0),
        GenerationConfig(strategy="top_k", top_k=1),
        GenerationConfig(strategy="top_p", top_p=0.0),
    ],
    ids=lambda config: config.strategy,
)
def test_these_are_all_greedy(config):
    """Temperature 0 divides by zero in nanoGPT and is an error in `transformers`; here it means greedy."""
    torch.manual_seed(0)
    for _ in range(20):
        logits = torch.randn(50)
        assert choose(logits, config, torch.Generator().manual_seed(1)) == int(logits.argmax())


@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(strategy="sample", temperature=0.7),
        GenerationConfig(strategy="top_k", temperature=1.3, top_k=4),
        GenerationConfig(strategy="top_p", temperature=1.0, top_p=0.8),
        GenerationConfig(strategy="top_k_top_p", temperature=1.0, top_k=6, top_p=0.9),
    ],
    ids=lambda config: config.strategy,
)
def test_samples_follow_the_filtered_distribution(config):
    """Chi-squared of 20,000 draws against the exact probabilities; the bound is passed once in 10,000 runs."""
    torch.manual_seed(0)
    logits = torch.randn(10)
    expected = filter_logits(logits, config).softmax(dim=-1)
    generator = torch.Generator().manual_seed(7)
    draws = torch.tensor([choose(logits, config, generator) for _ in range(20_000)])
    counts = torch.bincount(draws, minlength=10).float()
    alive = expected > 0
    assert counts[~alive].sum() == 0
    chi_squared = ((counts - 20_000 * expected)[alive] ** 2 / (20_000 * expected[alive])).sum().item()
    bounds = {1: 15.1, 2: 18.4, 3: 21.1, 4: 23.5, 5: 25.7, 6: 27.9, 7: 29.9, 8: 31.8, 9: 33.7}
    assert chi_squared < bounds[int(alive.sum()) - 1]
