import math

import pytest
import torch

from storygen.config import GenerationConfig
from storygen.decoding.modifiers import modify, no_repeat_ngram, repetition_penalty


def banned(logprobs):
    return [i for i, value in enumerate(logprobs.tolist()) if value == -math.inf]


def uniform(size):
    return torch.full((size,), -math.log(size))


def test_repetition_penalty_multiplies_log_probabilities_once():
    logprobs = torch.tensor([0.5, 0.25, 0.25]).log()
    changed = repetition_penalty(logprobs, [1, 1, 1], 2.0)
    assert changed.tolist() == pytest.approx([math.log(0.5), 2 * math.log(0.25), math.log(0.25)])


def test_repetition_penalty_does_not_depend_on_a_constant():
    """`transformers` divides positive logits: [2, 1.9, 0, -5] and the same plus 10 give it another favourite."""
    logits = torch.tensor([2.0, 1.9, 0.0, -5.0])
    best = [
        int(repetition_penalty((logits + shift).log_softmax(dim=-1), [0], 1.05).argmax())
        for shift in (0.0, 10.0, -10.0)
    ]
    assert best == [0, 0, 0]


@pytest.mark.parametrize(
    ("history", "size", "expected"),
    [
        ([5, 6, 7, 5, 6], 3, [7]),
        ([5, 6, 7, 5, 6], 2, [7]),
        ([5, 6, 7, 5, 6], 1, [5, 6, 7]),
        ([5, 6, 5, 7, 5], 2, [6, 7]),
        ([5, 5, 5], 3, [5]),
        ([5, 6], 3, []),
        ([], 1, []),
    ],
)
def test_no_repeat_ngram(history, size, expected):
    assert banned(no_repeat_ngram(uniform(9), history, size)) == expected


def test_the_end_waits_for_the_minimum():
    config = GenerationConfig(min_new_tokens=3)
    assert banned(modify(uniform(9), [1], [4, 4], 8, config)) == [8]
    assert banned(modify(uniform(9), [1], [4, 4, 4], 8, config)) == []


def test_the_prompt_counts_as_written():
    config = GenerationConfig(no_repeat_ngram=2)
    assert banned(modify(uniform(9), [1, 2, 3, 1], [], 8, config)) == [2]
    assert banned(modify(uniform(9), [1, 2], [3, 1], 8, config)) == [2]


def test_without_modifiers_nothing_is_copied():
    logprobs = uniform(9)
    assert modify(logprobs, [1], [2], 8, GenerationConfig()) is logprobs


def test_pad_is_a_token_like_any_other():
    """Id 0 is falsy, which code that fills with `pad or end` trips over."""
    assert banned(no_repeat_ngram(uniform(3), [0], 1)) == [0]
    assert repetition_penalty(uniform(3), [0], 2.0).argmin() == 0
