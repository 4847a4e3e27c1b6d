import itertools
import math

import pytest
import torch

from storygen.config import GenerationConfig
from storygen.decoding import beam_search, generate_tokens
from tests.toys import Bigram

# Bigram of the golden table: ids 0 pad, 1 end, 2 start, 3 a; P(end|start) = .4, P(end|a) = .1, else a.
GOLDEN = [[0.25] * 4, [0.25] * 4, [0.0, 0.4, 0.0, 0.6], [0.0, 0.1, 0.0, 0.9]]
END, A = (1,), (3,)


@pytest.mark.parametrize(
    ("length_penalty", "early_stopping", "first", "first_score", "second", "second_score"),
    [
        (0, "false", END, -0.916, A * 6, -1.038),
        (0, "never", END, -0.916, A * 6, -1.038),
        (0, "true", END, -0.916, A + END, -2.813),
        (1, "false", A * 6, -0.173, A * 5 + END, -0.539),
        (1, "never", A * 6, -0.173, A * 5 + END, -0.539),
        (1, "true", END, -0.916, A + END, -1.407),
        (2, "true", A + END, -0.703, END, -0.916),
        (-1, "false", END, -0.916, A + END, -5.627),
        (-1, "never", END, -0.916, A + END, -5.627),
        (-1, "true", END, -0.916, A + END, -5.627),
    ],
)
def test_golden_table(length_penalty, early_stopping, first, first_score, second, second_score):
    """Observed with `transformers` 5.23.0 on this very model: two beams, six new tokens."""
    found = beam_search(Bigram(GOLDEN), [2], 1, 2, 6, length_penalty, early_stopping)
    assert [hypothesis.tokens for hypothesis in found] == [first, second]
    scores = [hypothesis.score(length_penalty) for hypothesis in found]
    assert scores == pytest.approx([first_score, second_score], abs=1e-3)


def random_bigram(seed, vocab=4):
    generator = torch.Generator().manual_seed(seed)
    return Bigram((2 * torch.randn(vocab, vocab, generator=generator)).softmax(dim=-1))


def exhaustive(model, start, end, length):
    """Every finished sequence with its log-probability, the plain way."""
    logprobs = model.logits.log_softmax(dim=-1)
    for size in range(1, length + 1):
        for tokens in itertools.product(range(len(logprobs)), repeat=size):
            if end in tokens[:-1] or (tokens[-1] != end and size < length):
                continue
            yield tokens, sum(logprobs[a, b].item() for a, b in zip((start, *tokens), tokens, strict=False))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all_sequences(seed, length_penalty):
    model = random_bigram(seed)
    best = max(exhaustive(model, 2, 1, 4), key=lambda item: item[1] / len(item[0]) ** length_penalty)
    found = beam_search(model, [2], 1, 64, 4, length_penalty, "never")[0]
    assert found.tokens == best[0]
    assert found.total == pytest.approx(best[1], abs=1e-5)
    assert sum(found.logprobs) == pytest.approx(found.total, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_one_beam_is_greedy(seed, model):
    bigram = random_bigram(seed, vocab=8)
    greedy = [t.id for t in generate_tokens(bigram, [2], GenerationConfig(strategy="greedy", max_new_tokens=12), 1)]
    assert list(beam_search(bigram, [2], 1, 1, 12)[0].tokens) == greedy


def test_one_beam_is_greedy_with_a_real_model(model):
    """Exercises the state's `select` as well."""
    config = GenerationConfig(strategy="greedy", max_new_tokens=20)
    greedy = [token.id for token in generate_tokens(model, [5, 6, 7], config, end_id=399)]
    assert list(beam_search(model, [5, 6, 7], 399, 1, 20)[0].tokens) == greedy


def test_scores_are_those_of_the_model(model):
    """Recomputes the log-probability of the winner in one pass: a state reordered wrongly gives another one."""
    prompt = [5, 6, 7]
    best = beam_search(model, prompt, 399, 5, 20)[0]
    logits, _ = model(torch.tensor([[*prompt, *best.tokens[:-1]]]))
    logprobs = logits[0, len(prompt) - 1 :].log_softmax(dim=-1)
    expected = [logprobs[i, token].item() for i, token in enumerate(best.tokens)]
    assert list(best.logprobs) == pytest.approx(expected, abs=1e-3)
    assert math.isfinite(best.total)
