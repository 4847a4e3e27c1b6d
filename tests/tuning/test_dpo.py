import math

import pytest
import torch

from storygen.models import build_model
from storygen.tuning.dpo import (
    DPOConfig,
    PreferenceLoss,
    divergence,
    dpo_loss,
    margin,
    preference_figures,
    reference_logprobs,
    weighted_loss,
)
from storygen.tuning.preferences import Pair, logprobs
from storygen.tuning.told import Told
from tests.conftest import lively, tiny_config
from tests.toys import Bigram

CHOSEN, REJECTED = torch.tensor([-10.5, -220.25, -33.0]), torch.tensor([-12.0, -180.5, -33.5])
REFERENCE = torch.tensor([-11.0, -231.0, -30.0]), torch.tensor([-11.5, -179.0, -35.25])
LENGTHS = torch.tensor([4, 100, 9]), torch.tensor([5, 80, 12])


@pytest.mark.parametrize(
    ("beta", "lengths", "expected"),
    [
        (0.1, None, [0.644396660074, 0.257550929955, 0.958589087871]),
        (0.5, None, [0.474076984180, 0.002185102043, 2.463939465475]),
        (5.0, LENGTHS, [0.281150136248, 0.426526078763, 2.483016701092]),
    ],
)
def test_the_loss_is_that_of_the_paper_and_of_trl(beta, lengths, expected):
    """Worked out with 40-digit decimals from the formula; `trl` 1.16.0 gives the same twelve digits for the same
    log-probabilities (DPOTrainer._compute_loss, loss types sigmoid and sigmoid_norm). It is no dependency, as to import
    it takes ten seconds.
    """
    losses = dpo_loss(margin(CHOSEN, REJECTED, *REFERENCE, lengths), beta)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


def told(tokens, scored):
    return Told(tuple(tokens), scored)


def pair(first, second, for_first=1.0, for_second=0.0):
    return Pair("p", first, second, for_first, for_second)


def test_only_the_storys_own_tokens_are_scored():
    """A prompt's tokens in the sum would train the model to make prompts likelier."""
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1], [0.3, 0.3, 0.2, 0.2]])
    found = logprobs(Bigram(table), [told([3, 2, 0, 1], 2), told([3, 0, 3], 1)])
    assert found.tolist() == pytest.approx([math.log(0.7 * 0.2), math.log(0.4)])


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_padding_and_company_do_not_change_a_story(architecture):
    model = lively(build_model(tiny_config(architecture, 50)))
    stories = [told(range(1, 30), 20), told([5, 6, 7], 1), told([9, 8, 7, 6, 5], 4)]
    together = logprobs(model, stories)
    assert together.tolist() == pytest.approx([logprobs(model, [each]).item() for each in stories], rel=1e-5)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_a_step_makes_the_chosen_likelier_than_the_rejected(architecture):
    """A sign wrong in the loss would teach what nobody wanted."""
    model = lively(build_model(tiny_config(architecture, 50)))
    pairs = [pair(told([1, 2, 3, 4], 3), told([1, 5, 6, 7], 3)), pair(told([1, 8], 1), told([1, 9], 1), 0.0, 2.0)]
    reference = reference_logprobs(model, pairs, batch=1)
    loss = PreferenceLoss(model, DPOConfig())
    with torch.no_grad():
        assert loss.margins(pairs, reference).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    value = loss(pairs, reference)
    assert value.item() == pytest.approx(math.log(2) * 3 / 2, rel=1e-4)  # three votes on two pairs
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    value.backward()
    optimizer.step()
    with torch.no_grad():
        first, second = loss.margins(pairs, reference).tolist()
    assert first > 1e-3 and second < -1e-3


def test_votes_for_both_sides_pull_both_ways():
    """Two readers who disagree must leave the pair where it is, not count for whoever was read first."""
    margins = torch.tensor([2.0, 2.0], requires_grad=True)
    pairs = [pair(None, None, 1.0, 1.0), pair(None, None, 3.0, 1.0)]
    losses = weighted_loss(margins, pairs, 0.5)
    assert losses[0].item() == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(1)))
    best = torch.tensor([0.0, math.log(3) / 0.5], requires_grad=True)  # sigmoid(beta m) = the share of votes
    weighted_loss(best, pairs, 0.5).sum().backward()
    assert best.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_figures_weigh_votes():
    pairs = [pair(None, None, 3.0, 1.0), pair(None, None, 0.0, 2.0), pair(None, None, 2.0, 0.0)]
    figures = preference_figures(torch.tensor([1.0, -2.0, 0.0]), pairs, 0.5)
    assert figures.accuracy == pytest.approx((3 + 2 + 1) / 8)
    assert figures.margin == pytest.approx(0.5 * ((3 - 1) * 1.0 + 2 * 2.0) / 8)


def test_divergence_is_that_of_the_model_from_the_reference():
    """KL is not symmetric; by hand on two tables."""
    p, q = torch.tensor([[0.5, 0.25, 0.125, 0.125]] * 4), torch.tensor([[0.25, 0.25, 0.25, 0.25]] * 4)
    expected = 0.5 * math.log(2) + 2 * 0.125 * math.log(0.5)
    stories = [told([0, 1, 2], 1), told([0, 1, 2, 3, 0], 4)]
    assert divergence(Bigram(p), Bigram(q), stories, batch=1) == pytest.approx(expected, rel=1e-5)
    assert divergence(Bigram(p), Bigram(p), stories) == pytest.approx(0.0, abs=1e-7)
