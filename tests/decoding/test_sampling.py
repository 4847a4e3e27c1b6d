import pytest
import torch

from storygen.config import GenerationConfig
from storygen.decoding import choose, filter_logits
from storygen.decoding.sampling import draw, random_numbers

GREEDY = [
    GenerationConfig(strategy="greedy"),
    GenerationConfig(strategy="sample", temperature=0.0),
    GenerationConfig(strategy="top_k_top_p", temperature=0.0),
    GenerationConfig(strategy="top_k", top_k=1),
    GenerationConfig(strategy="top_p", top_p=0.0),
    GenerationConfig(strategy="min_p", min_p=1.0),
]
SAMPLING = [
    GenerationConfig(strategy="sample", temperature=0.7),
    GenerationConfig(strategy="top_k", temperature=1.3, top_k=4),
    GenerationConfig(strategy="top_p", temperature=1.0, top_p=0.8),
    GenerationConfig(strategy="top_k_top_p", temperature=1.0, top_k=6, top_p=0.9),
    GenerationConfig(strategy="min_p", temperature=1.2, min_p=0.2),
    GenerationConfig(strategy="typical", temperature=1.0, typical_p=0.7),
]


def name_of(config):
    return config.strategy


def seeded(*seeds):
    return [random_numbers(seed) for seed in seeds]


@pytest.mark.parametrize("config", GREEDY, ids=name_of)
def test_these_are_all_greedy(config):
    """Temperature 0 divides by zero in nanoGPT and is an error in `transformers`; here it means greedy."""
    torch.manual_seed(0)
    logits = torch.randn(20, 50)
    assert choose(logits, [config] * 20, seeded(*range(20))) == logits.argmax(dim=-1).tolist()


@pytest.mark.parametrize("config", SAMPLING, ids=name_of)
def test_samples_follow_the_filtered_distribution(config):
    """Chi-squared of 20,000 draws against the exact probabilities; the bound is passed once in 10,000 runs."""
    torch.manual_seed(0)
    logits = torch.randn(10)
    expected = filter_logits(logits, config).softmax(dim=-1)
    draws = torch.tensor(choose(logits.expand(20_000, -1), [config] * 20_000, seeded(7) * 20_000))
    counts = torch.bincount(draws, minlength=10).float()
    alive = expected > 0
    assert counts[~alive].sum() == 0
    assert alive.sum() > 1
    chi_squared = ((counts - 20_000 * expected)[alive] ** 2 / (20_000 * expected[alive])).sum().item()
    bounds = {1: 15.1, 2: 18.4, 3: 21.1, 4: 23.5, 5: 25.7, 6: 27.9, 7: 29.9, 8: 31.8, 9: 33.7}
    assert chi_squared < bounds[int(alive.sum()) - 1]


def test_a_row_is_drawn_the_same_beside_any_others():
    """With one generator for all, as in `transformers`, the same seed gives another text in another batch."""
    torch.manual_seed(0)
    logits = torch.randn(12, 30)
    configs = [SAMPLING[row % 6] if row % 4 else GREEDY[0] for row in range(12)]
    together = choose(logits, configs, seeded(*range(12)))
    alone = [choose(logits[row : row + 1], [configs[row]], seeded(row))[0] for row in range(12)]
    assert together == alone


@pytest.mark.parametrize("config", [*SAMPLING, GREEDY[0]], ids=name_of)
def test_nothing_left_to_choose_from_is_told(config):
    """A softmax over nothing is not a number, and drawing from that is an error or any token at all."""
    logits = torch.stack((torch.full((10,), -torch.inf), torch.arange(10.0)))
    first, second = choose(logits, [config] * 2, seeded(1, 2))
    assert first == -1
    assert second >= 0


def test_draws_never_hit_a_removed_token():
    """At the very ends of the unit interval, with removed tokens at both ends of the vocabulary."""
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    numbers = torch.tensor([0.0, 0.49999997, 0.5, 1 - 2**-24])
    assert draw(logits.expand(4, -1), numbers).tolist() == [1, 1, 3, 3]
