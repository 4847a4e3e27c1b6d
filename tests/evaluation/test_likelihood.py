import math

import pytest
import torch

from storygen.errors import StorygenError
from storygen.evaluation.likelihood import Window, likelihood, rolling_windows, text_likelihood
from storygen.models import build_model
from tests.conftest import lively, tiny_config
from tests.toys import Bigram


def test_windows_are_those_of_lm_evaluation_harness():
    """`get_rolling_token_windows` over 10 tokens after the prefix, at most 4: 0-3 | 4-7 from 3 | 8-9 from 5, 6, 7."""
    assert list(rolling_windows(11, 4)) == [Window(0, 5, 4), Window(4, 9, 4), Window(6, 11, 2)]


@pytest.mark.parametrize("count", range(1, 40))
@pytest.mark.parametrize("context", [1, 4, 7])
def test_each_token_is_scored_once(count, context):
    scored = [i for w in rolling_windows(count, context) for i in range(w.stop - w.scored, w.stop)]
    assert scored == list(range(1, count))
    assert all(0 < w.stop - w.start - 1 <= context for w in rolling_windows(count, context))


def test_by_hand():
    """ln of known probabilities: 0 -> 1 (.5), 1 -> 1 (.25), 1 -> 0 (.75), over 2 + 1 bytes."""
    model = Bigram([[0.5, 0.5], [0.75, 0.25]])
    measured = likelihood(model, [([0, 1, 1], 2), ([1, 0], 1)])
    assert measured.nats == pytest.approx(-math.log(0.5 * 0.25 * 0.75))
    assert (measured.tokens, measured.bytes) == (3, 3)
    assert measured.bits_per_byte == pytest.approx(-math.log2(0.5 * 0.25 * 0.75) / 3)
    assert measured.token_perplexity == pytest.approx((0.5 * 0.25 * 0.75) ** (-1 / 3))


def test_sums_not_means_of_means():
    """A long story weighs more than a short one: the mean of the two stories' figures would be wrong."""
    model = Bigram([[0.5, 0.5], [0.75, 0.25]])
    stories = [([0, 1], 1), ([1, 1, 1, 1], 9)]
    together = likelihood(model, stories)
    alone = [likelihood(model, [story]) for story in stories]
    assert together.nats == pytest.approx(sum(part.nats for part in alone))
    assert together.bits_per_byte == pytest.approx(together.nats / 10 / math.log(2))


def test_batches_and_padding_do_not_matter(model):
    """Against one story at a time with an independent few lines."""
    generator = torch.Generator().manual_seed(0)
    stories = [torch.randint(0, 400, (n,), generator=generator).tolist() for n in (2, 65, 30, 64, 200, 3, 129)]
    expected = 0.0
    for tokens in stories:
        for window in rolling_windows(len(tokens), 64):
            piece = torch.tensor([tokens[window.start : window.stop]])
            logprobs = model(piece[:, :-1])[0].log_softmax(-1).gather(-1, piece[:, 1:, None])[0, :, 0]
            expected -= logprobs[-window.scored :].sum().item()
    for batch_tokens in (64, 200, 8192):
        assert likelihood(model, [(tokens, 1) for tokens in stories], batch_tokens=batch_tokens).nats == pytest.approx(
            expected, rel=1e-5
        )


def test_model_is_left_as_it_was():
    model = lively(build_model(tiny_config("lstm", dropout=0.5))).train()
    first = likelihood(model, [([1, 2, 3], 3)])
    assert model.training
    assert likelihood(model, [([1, 2, 3], 3)]).nats == first.nats


def test_texts_are_framed_and_counted_in_bytes(model, tokenizer):
    measured = text_likelihood(model, tokenizer, ["naïve"])
    assert measured.bytes == 6
    assert measured.tokens == len(tokenizer.encode("naïve")) + 1  # the end token is scored, the start token given


@pytest.mark.parametrize("texts", [[], [""]])
def test_nothing_to_measure(model, tokenizer, texts):
    with pytest.raises(StorygenError, match="no text to measure"):
        text_likelihood(model, tokenizer, texts)


@pytest.mark.parametrize(("texts", "message"), [("a story", "not a str"), (None, "not a NoneType"), ([1], "not int")])
def test_something_else_than_a_list_of_texts(model, tokenizer, texts, message):
    """A string is a list of its letters: the figure would be wrong and nobody would know."""
    with pytest.raises(StorygenError, match=message):
        text_likelihood(model, tokenizer, texts)
