import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storygen.config import STRATEGIES, GenerationConfig
from storygen.decoding import filter_logits
from storygen.decoding.filters import FILTERS, min_p, temperature, top_k, top_p, typical_p


def kept(logits):
    return [i for i, value in enumerate(logits.tolist()) if value > -math.inf]


def logs(*probabilities):
    return torch.tensor(probabilities).log()


def test_every_setting_of_a_sampling_strategy_has_its_filter():
    """A strategy whose slider does nothing would be a silent lie in the comparison."""
    for settings_used in STRATEGIES.values():
        filters = [setting for setting in settings_used if setting != "num_stories"]  # which draws several
        assert "num_beams" in settings_used or all(setting in FILTERS for setting in filters)


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
    for filtered in (top_k(logits, k), top_p(logits, p), min_p(logits, p), typical_p(logits, p)):
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
    for name, value in (("temperature", 0.7), ("top_k", 5), ("top_p", 0.6), ("min_p", 0.1), ("typical_p", 0.5)):
        rows = torch.stack([FILTERS[name](row, value) for row in logits])
        assert torch.equal(FILTERS[name](logits, value), rows), name


def test_order_is_temperature_first_then_top_k_then_top_p():
    """Top-p must see the distribution that temperature and top-k have left, renormalised."""
    torch.manual_seed(0)
    logits = torch.randn(30)
    config = GenerationConfig(strategy="top_k_top_p", temperature=1.5, top_k=10, top_p=0.7)
    assert torch.equal(filter_logits(logits, config), top_p(top_k(temperature(logits, 1.5), 10), 0.7))


def test_a_wide_nucleus_beside_a_narrow_one():
    assert len(kept(top_p(torch.zeros(1000), 0.9))) == 900
    torch.manual_seed(0)
    logits = torch.stack((torch.randn(1000), 10 * torch.randn(1000)))  # a wide row beside a narrow one
    assert torch.equal(top_p(logits, 0.9)[1], top_p(logits[1], 0.9))


@pytest.mark.parametrize(("share", "count"), [(0.0, 4), (0.1, 4), (0.2, 2), (0.34, 1), (1.0, 1)])
def test_min_p_is_relative_to_the_likeliest(share, count):
    assert len(kept(min_p(logs(0.6, 0.2, 0.1, 0.1), share))) == count


def test_min_p_of_one_keeps_all_that_tie_for_the_first_place():
    assert kept(min_p(logs(0.4, 0.4, 0.2), 1.0)) == [0, 1]


def test_typical_may_drop_the_likeliest_token():
    """Surprises of [.6, .2, .1, .1] are .51, 1.61, 2.30, 2.30 and their mean is 1.09: the second is nearest."""
    assert kept(typical_p(logs(0.6, 0.2, 0.1, 0.1), 0.2)) == [1]


def test_typical_ignores_what_is_removed_already():
    """0 * -inf is not a number, and one such term would make the entropy, and all that follows, none either."""
    logits = torch.tensor([math.log(0.6), math.log(0.4), -math.inf])
    assert kept(typical_p(logits, 0.99)) == [0, 1]


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p"])
def test_filters_do_not_mind_a_constant(name):
    """Log-probabilities and logits are the same to them."""
    torch.manual_seed(0)
    logits = torch.randn(5, 40)
    assert torch.equal(FILTERS[name](logits, 0.5) > -math.inf, FILTERS[name](logits + 7, 0.5) > -math.inf)
