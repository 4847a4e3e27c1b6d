import itertools
import math
from collections import Counter

import pytest
import torch

from storygen.config import GenerationConfig
from storygen.decoding import BeamSearch
from tests.toys import Bigram

# Bigram of the golden table: ids 0 pad, 1 end, 2 start, 3 a; P(end|start) = .4, P(end|a) = .1, else a.
GOLDEN = [[0.25] * 4, [0.25] * 4, [0.0, 0.4, 0.0, 0.6], [0.0, 0.1, 0.0, 0.9]]
END, A = (1,), (3,)


@torch.inference_mode()
def search(model, prompt, end_id, is_over=None, **settings):
    """The finished hypotheses, best first."""
    settings = {"strategy": "beam", **settings}
    beams = BeamSearch(prompt, end_id, GenerationConfig(**settings), is_over=is_over)
    logits, state = model(torch.tensor([prompt]))
    while True:
        rows, tokens = beams.advance(logits[:, -1].log_softmax(dim=-1))
        if not rows:
            return beams.finished
        logits, state = model(torch.tensor(tokens)[:, None], state.select(rows))


@torch.inference_mode()
def greedy(model, prompt, count, end_id):
    """The likeliest token after a full pass over all before it, again and again."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count and tokens[-1] != end_id:
        tokens.append(int(model(torch.tensor([tokens]))[0][0, -1].argmax()))
    return tuple(tokens[len(prompt) :])


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
    found = search(
        Bigram(GOLDEN), [2], 1, num_beams=2, max_new_tokens=6, length_penalty=length_penalty,
        early_stopping=early_stopping,
    )  # fmt: skip
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
    """Four tokens, of which three go on: after two of three steps 16 beams hold every prefix there is."""
    model = random_bigram(seed)
    best = max(exhaustive(model, 2, 1, 3), key=lambda item: item[1] / len(item[0]) ** length_penalty)
    found = search(
        model, [2], 1, num_beams=16, max_new_tokens=3, length_penalty=length_penalty, early_stopping="never"
    )[0]
    assert found.tokens == best[0]
    assert found.total == pytest.approx(best[1], abs=1e-5)
    assert sum(found.logprobs) == pytest.approx(found.total, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_one_beam_is_greedy(seed):
    bigram = random_bigram(seed, vocab=8)
    assert search(bigram, [2], 1, num_beams=1, max_new_tokens=12)[0].tokens == greedy(bigram, [2], 12, 1)


def test_one_beam_is_greedy_with_a_real_model(model):
    """Exercises the state's `select` as well."""
    found = search(model, [5, 6, 7], 399, num_beams=1, max_new_tokens=20)
    assert found[0].tokens == greedy(model, [5, 6, 7], 20, 399)


def test_scores_are_those_of_the_model(model):
    """Recomputes the log-probability of the winner in one pass: a state reordered wrongly gives another one."""
    prompt = [5, 6, 7]
    best = search(model, prompt, 399, num_beams=5, max_new_tokens=20)[0]
    logits, _ = model(torch.tensor([[*prompt, *best.tokens[:-1]]]))
    logprobs = logits[0, len(prompt) - 1 :].log_softmax(dim=-1)
    expected = [logprobs[i, token].item() for i, token in enumerate(best.tokens)]
    assert list(best.logprobs) == pytest.approx(expected, abs=1e-3)
    assert math.isfinite(best.total)


def test_no_two_hypotheses_are_the_same(model):
    """Starting all beams from the prompt, without keeping one row only at first, finds each story num_beams times."""
    found = search(model, [5, 6, 7], 399, num_beams=8, max_new_tokens=12)
    assert len({hypothesis.tokens for hypothesis in found}) == len(found) == 8


def test_modifiers_act_on_every_beam(model):
    found = search(model, [5, 6, 7], 399, num_beams=4, max_new_tokens=30, no_repeat_ngram=2, min_new_tokens=30)
    for hypothesis in found:
        pairs = Counter(itertools.pairwise([5, 6, 7, *hypothesis.tokens]))
        assert max(pairs.values()) == 1
        assert len(hypothesis.tokens) == 30


def test_a_hypothesis_may_be_ended_by_its_caller(model):
    found = search(model, [5], 399, is_over=lambda tokens: len(tokens) == 3, num_beams=4, max_new_tokens=12)
    assert {len(hypothesis.tokens) for hypothesis in found} <= {1, 2, 3}
    assert {hypothesis.finish_reason for hypothesis in found} <= {"stop", "end"}


def test_when_everything_is_banned_the_search_ends_with_what_it_has():
    """All tokens but one are used up after three steps if none may come twice."""
    found = search(Bigram([[0.25] * 4] * 4), [0], 9, num_beams=2, max_new_tokens=12, no_repeat_ngram=1)
    assert {hypothesis.finish_reason for hypothesis in found} == {"exhausted"}
    assert all(sorted(hypothesis.tokens) == [1, 2, 3] for hypothesis in found)


# Diverse beam search. Tokens: 0 end, 1 a, 2 b, 3 c; P(a) = .5, P(b) = .3, P(c) = .2 whatever came before.
UNIGRAM = [[1e-9, 0.5, 0.3, 0.2]] * 4


def test_groups_by_hand():
    """Two groups of one beam: the first takes a (ln .5); a penalty of 1 leaves it ln .5 - 1 < ln .3, so b is taken."""
    settings = {"strategy": "diverse_beam", "num_beams": 2, "num_groups": 2, "max_new_tokens": 3}
    found = search(Bigram(UNIGRAM), [1], 0, diversity_penalty=1.0, length_penalty=0.0, **settings)
    assert [hypothesis.tokens for hypothesis in found] == [(1, 1, 1), (2, 2, 2)]
    assert found[0].total == pytest.approx(3 * math.log(0.5), abs=1e-5)
    assert found[1].logprobs == pytest.approx([math.log(0.3)] * 3, abs=1e-5)
    found = search(Bigram(UNIGRAM), [1], 0, diversity_penalty=0.4, length_penalty=0.0, **settings)
    assert [hypothesis.tokens for hypothesis in found] == [(1, 1, 1), (1, 1, 1)]  # ln .5 - .4 > ln .3
    assert found[1].total == pytest.approx(3 * (math.log(0.5) - 0.4), abs=1e-5)


def test_groups_may_end_at_the_same_time():
    """The end token is not penalised: else a second group could not end where the first does."""
    ending = [[0.5, 0.3, 0.15, 0.05]] * 4  # token 0 ends
    settings = {"strategy": "diverse_beam", "num_beams": 2, "num_groups": 2, "max_new_tokens": 3}
    found = search(Bigram(ending), [1], 0, diversity_penalty=2.0, length_penalty=0.0, **settings)
    assert [hypothesis.tokens for hypothesis in found] == [(0,), (0,)]


def test_never_with_a_penalty_that_favours_short_stories_looks_no_further():
    """At the length limit the best running one would only score worse, so its present length is what counts."""
    for length_penalty in (-1.0, 0.0):
        early, never = (
            search(
                Bigram(GOLDEN), [2], 1, num_beams=2, max_new_tokens=60, length_penalty=length_penalty, early_stopping=e
            )
            for e in ("false", "never")
        )
        assert [h.tokens for h in early] == [h.tokens for h in never]


def test_a_third_group_keeps_away_from_both_before_it():
    settings = {"strategy": "diverse_beam", "num_beams": 3, "num_groups": 3, "max_new_tokens": 1}
    found = search(Bigram(UNIGRAM), [1], 0, diversity_penalty=2.0, length_penalty=0.0, **settings)
    assert {hypothesis.tokens for hypothesis in found} == {(1,), (2,), (3,)}


def test_the_first_group_is_plain_beam_search(model):
    settings = {"max_new_tokens": 15, "length_penalty": 1.0}
    plain = search(model, [5, 6], 399, num_beams=3, **settings)
    groups = search(
        model, [5, 6], 399, strategy="diverse_beam", num_beams=6, num_groups=2, diversity_penalty=2.0, **settings
    )
    assert {hypothesis.tokens for hypothesis in plain} <= {hypothesis.tokens for hypothesis in groups}


def test_without_penalty_all_groups_find_the_same(model):
    settings = {"max_new_tokens": 10, "num_beams": 4, "num_groups": 2}
    found = search(model, [5, 6], 399, strategy="diverse_beam", diversity_penalty=0.0, **settings)
    assert set(Counter(hypothesis.tokens for hypothesis in found).values()) == {2}
