import math

import pytest
import torch

from storygen.errors import StorygenError
from storygen.evaluation.likelihood import (
    LikelihoodConfig,
    Piece,
    Window,
    batches_to_score,
    count_words,
    in_batches,
    likelihood,
    rolling_windows,
    text_likelihood,
)  # fmt: skip
from storygen.models import build_model
from storygen.tokenizers import CharTokenizer
from tests.conftest import lively, tiny_config
from tests.toys import Bigram


def test_windows_are_those_of_lm_evaluation_harness():
    """`get_rolling_token_windows` over 10 tokens after the prefix, at most 4: 0-3 | 4-7 from 3 | 8-9 from 5, 6, 7."""
    assert list(rolling_windows(11, 4)) == [Window(0, 5, 4), Window(4, 9, 4), Window(6, 11, 2)]


def test_strided_windows():
    """Each after the first is full and scores its last two: 0-3 | 4-5 from 2 | 6-7 from 4 | 8-9 from 6."""
    windows = [Window(0, 5, 4), Window(2, 7, 2), Window(4, 9, 2), Window(6, 11, 2)]
    assert list(rolling_windows(11, 4, stride=2)) == windows


@pytest.mark.parametrize("count", range(1, 40))
@pytest.mark.parametrize(("context", "stride"), [(1, 0), (4, 0), (7, 0), (4, 1), (4, 3), (7, 7)])
def test_each_token_is_scored_once(count, context, stride):
    windows = list(rolling_windows(count, context, stride))
    assert [i for w in windows for i in range(w.stop - w.scored, w.stop)] == list(range(1, count))
    assert all(0 < w.stop - w.start - 1 <= context for w in windows)
    if stride == context:
        assert windows == list(rolling_windows(count, context))


def test_by_hand():
    """ln of known probabilities: 0 -> 1 (.5), 1 -> 1 (.25), 1 -> 0 (.75), over 2 + 1 bytes."""
    model = Bigram([[0.5, 0.5], [0.75, 0.25]])
    measured = likelihood(model, [([0, 1, 1], 2), ([1, 0], 1)])
    assert measured.nats == pytest.approx(-math.log(0.5 * 0.25 * 0.75))
    assert (measured.tokens, measured.bytes) == (3, 3)
    assert measured.bits_per_byte == pytest.approx(-math.log2(0.5 * 0.25 * 0.75) / 3)
    assert measured.token_perplexity == pytest.approx((0.5 * 0.25 * 0.75) ** (-1 / 3))
    assert measured.byte_perplexity == pytest.approx(2**measured.bits_per_byte)
    assert measured.word_perplexity == pytest.approx((0.5 * 0.25 * 0.75) ** (-1 / 2))  # two words, one a story


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


@pytest.mark.parametrize("settings", [{}, {"stride": 20}, {"carry_state": True}])
def test_each_story_keeps_its_own_sum(model, settings):
    """Stories share batches, sorted by length; resampling them needs each one's sum under its own number."""
    config = LikelihoodConfig(**settings)
    generator = torch.Generator().manual_seed(0)
    stories = [torch.randint(0, 400, (n,), generator=generator).tolist() for n in (30, 2, 150, 64, 1, 200, 3)]
    together = likelihood(model, [(tokens, 1) for tokens in stories], config, batch_tokens=200)
    alone = [likelihood(model, [(tokens, 1)], config).nats for tokens in stories]
    assert together.story_nats == pytest.approx(alone, rel=1e-5)
    assert together.story_tokens.tolist() == [29, 1, 149, 63, 0, 199, 2]


@torch.inference_mode()
def test_a_carried_state_is_one_pass_over_the_story(model):
    """Against the whole story at once, which both models can read beyond their context."""
    tokens = torch.randint(0, 400, (1, 200), generator=torch.Generator().manual_seed(0))
    logprobs = model(tokens[:, :-1])[0].log_softmax(-1).gather(-1, tokens[:, 1:, None])
    measured = likelihood(model, [(tokens[0].tolist(), 1)], LikelihoodConfig(carry_state=True))
    assert measured.nats == pytest.approx(-logprobs.sum().item(), rel=1e-5)
    reset = likelihood(model, [(tokens[0].tolist(), 1)])
    assert abs(measured.nats - reset.nats) > 0.1


def test_stride_one_gives_each_token_all_the_context_there_is(model):
    """The most context that windows can give: each token from the `context_length` before it, one at a time."""
    tokens = torch.randint(0, 400, (80,), generator=torch.Generator().manual_seed(0)).tolist()
    expected = 0.0
    for last in range(1, len(tokens)):
        piece = torch.tensor([tokens[max(0, last - 64) : last]])
        expected -= model(piece)[0][0, -1].log_softmax(-1)[tokens[last]].item()
    assert likelihood(model, [(tokens, 1)], LikelihoodConfig(stride=1)).nats == pytest.approx(expected, rel=1e-5)


def test_settings_that_contradict_each_other_or_the_model():
    with pytest.raises(StorygenError, match=r"stride is 8; a carried state needs no windows"):
        LikelihoodConfig(stride=8, carry_state=True)
    learned = build_model(tiny_config("transformer", positions="learned"))
    with pytest.raises(StorygenError, match="stride is 65, but the context of tom holds 64 tokens"):
        LikelihoodConfig(stride=65).check_fits(learned, "tom")
    with pytest.raises(StorygenError, match="tom reads at most 64 tokens; measure it without carry_state"):
        LikelihoodConfig(carry_state=True).check_fits(learned, "tom")


def test_batches_are_full_of_stories_of_like_length():
    """With one long story among short ones in each batch most of the work would be padding."""
    pieces = [Piece(range(100 if n % 10 == 0 else 5), 1, n) for n in range(200)]
    batches = list(in_batches(pieces, 64, 640))
    assert sorted(piece.story for batch in batches for piece in batch) == list(range(200))
    padded = sum(len(batch) * max(len(piece.tokens) for piece in batch) for batch in batches)
    assert padded < 1.2 * sum(len(piece.tokens) for piece in pieces)


def test_stories_are_read_as_they_are_needed():
    """A generator of all stories of a large corpus must not be emptied into memory."""
    read = []
    stories = ([0] * 33 for _ in range(1000) if read.append(1) is None)
    next(batches_to_score(stories, 32, 64))
    assert len(read) < 30


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


def test_a_text_without_a_known_character():
    """The end tokens alone would give a figure that looks wonderful."""
    tokenizer = CharTokenizer("abc ")
    model = lively(build_model(tiny_config("lstm", tokenizer.vocab_size)))
    with pytest.raises(StorygenError, match="the tokenizer knows no character of the text"):
        text_likelihood(model, tokenizer, ["狐と月", "狐"])


def test_words_are_counted_as_lm_evaluation_harness_does():
    assert [count_words(text) for text in ("one two\n\nthree", "one ", "")] == [3, 2, 1]


@pytest.mark.parametrize(("texts", "message"), [("a story", "not a str"), (None, "not a NoneType"), ([1], "not int")])
def test_something_else_than_a_list_of_texts(model, tokenizer, texts, message):
    """A string is a list of its letters: the figure would be wrong and nobody would know."""
    with pytest.raises(StorygenError, match=message):
        text_likelihood(model, tokenizer, texts)
