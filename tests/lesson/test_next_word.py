import itertools
import math

import pytest
import torch

import storygen
from storygen.config import GenerationConfig
from storygen.decoding.filters import filter_logits
from storygen.decoding.sampling import draw
from storygen.lesson.next_word import SAMPLED, draw_token, drawn_from, next_logprobs, next_word
from tests.toys import Bigram

SETTINGS = {"temperature": 0.7, "top_k": 7, "top_p": 0.6, "min_p": 0.2, "typical_p": 0.5}


@pytest.fixture(scope="module")
def logprobs():
    return torch.randn(60, generator=torch.Generator().manual_seed(1)).mul(2).log_softmax(dim=-1)


@pytest.mark.parametrize("strategy", SAMPLED)
def test_the_shown_probabilities_are_those_that_the_sampler_draws_by(strategy, logprobs):
    """Counted over an even grid of the numbers that the sampler may take, not computed a second time."""
    config, grid = GenerationConfig(strategy=strategy, **SETTINGS), 20_000
    shown = drawn_from(logprobs, config)
    if strategy == "greedy":
        assert shown.tolist() == [float(n == logprobs.argmax()) for n in range(60)]
        return
    numbers = (torch.arange(grid) + 0.5) / grid
    tokens = draw(filter_logits(logprobs, config).expand(grid, -1), numbers)
    counted = torch.bincount(tokens, minlength=60) / grid
    torch.testing.assert_close(shown, counted, atol=1.5 / grid, rtol=0)
    assert {token for seed in range(40) if (token := draw_token(logprobs, config, seed)) >= 0} <= set(
        shown.nonzero()[:, 0].tolist()
    )


def test_a_temperature_of_zero_is_greedy(logprobs):
    shown = drawn_from(logprobs, GenerationConfig(strategy="sample", temperature=0.0))
    assert shown[logprobs.argmax()] == shown.sum() == 1.0


def test_before_and_after_by_hand():
    """Four tokens of 1/2, 1/4, 1/8, 1/8, of which the two likeliest are kept."""
    probabilities = torch.tensor([0.125, 0.5, 0.25, 0.125])
    word = next_word(probabilities.log(), GenerationConfig(strategy="top_k", top_k=2, temperature=1.0), 3)
    assert [each.token for each in word.candidates[:2]] == [1, 2]
    assert [each.before for each in word.candidates] == pytest.approx([0.5, 0.25, 0.125])
    assert [each.after for each in word.candidates] == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert (word.kept, word.vocab_size) == (2, 4)
    assert word.choices_before == pytest.approx(2**1.75)  # 1.75 bits
    assert word.choices_after == pytest.approx(2 ** (math.log2(3) - 2 / 3))


def test_a_model_is_asked_what_follows_the_last_token():
    rows = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25] * 4, [0.7, 0.1, 0.1, 0.1]]
    for last, row in enumerate(rows):
        torch.testing.assert_close(next_logprobs(Bigram(rows), [2, last]).exp(), torch.tensor(row))


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_the_engine_finds_the_same_and_draws_the_same(name, model_folders):
    """The lesson asks the model by itself: what it shows must be what a story would be written with."""
    writer = storygen.load(model_folders / name)
    tokens, _ = writer.prompt_tokens("Once upon a time", "")
    logprobs = next_logprobs(writer.model, tokens)
    for strategy, seed in itertools.product(("top_p", "typical"), range(3)):
        config = GenerationConfig(strategy=strategy, seed=seed, max_new_tokens=1)
        result = writer.generate("Once upon a time", config=config, explain=True)
        assert draw_token(logprobs, config, seed) == result.tokens[0]
    told = dict(result.explained[0].alternatives)
    shown = {each.token: each.before for each in next_word(logprobs, config, len(told)).candidates}
    assert shown == pytest.approx({token: math.exp(value) for token, value in told.items()}, abs=1e-6)


def test_all_that_chooses_token_by_token_can_be_shown():
    assert SAMPLED == ("greedy", "sample", "top_k", "top_p", "top_k_top_p", "min_p", "typical")
