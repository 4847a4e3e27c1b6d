"""What is told of a story's tokens equals what the engine did when it wrote them."""

import math

import pytest
import torch

import storygen
from storygen.config import STRATEGIES, GenerationConfig
from storygen.decoding import filter_logits
from storygen.decoding.modifiers import modify
from storygen.explain import explain, steps
from storygen.explain.steps import draw_probabilities, surprise

SETTINGS = {"max_new_tokens": 40, "min_new_tokens": 10, "seed": 7, "repetition_penalty": 1.2, "no_repeat_ngram": 3}


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def writer(request, model_folders):
    return storygen.load(model_folders / request.param)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "beam" not in name])
def test_equals_what_the_engine_recorded(writer, strategy):
    """Read at once instead of token by token, with prompt and title: a shift by one token would show at once."""
    config = GenerationConfig(strategy=strategy, **SETTINGS)
    result = writer.generate("Once upon", "The Fox", config, explain=True)
    found = explain(writer, result)
    assert len(found) == len(result.tokens)
    for step, token, logprob in zip(found, result.explained, result.logprobs, strict=True):
        assert step.chosen.id == token.id
        assert math.log(step.chosen.before) == pytest.approx(logprob, abs=1e-4)
        assert step.entropy == pytest.approx(token.entropy, abs=1e-4)
        best = [(choice.id, math.log(choice.before)) for choice in step.choices]
        assert [id for id, _ in best[:5]] == [id for id, _ in token.alternatives]
        assert [value for _, value in best[:5]] == pytest.approx([value for _, value in token.alternatives], abs=1e-4)
        assert not step.chosen.is_cut
        assert step.chosen.after > 0


@pytest.mark.parametrize("strategy", ["beam", "diverse_beam"])
def test_a_beam_search_is_explained_too(writer, strategy):
    result = writer.generate("Once", config=GenerationConfig(strategy=strategy, **SETTINGS))
    assert [math.log(step.chosen.before) for step in explain(writer, result)] == pytest.approx(
        result.logprobs, abs=1e-4
    )


@pytest.mark.parametrize("strategy", ["top_k", "top_p", "typical", "greedy"])
def test_a_step_by_hand(writer, strategy):
    """Rank, what is cut and the drawn probabilities of one token, from the model asked anew."""
    config = GenerationConfig(strategy=strategy, **SETTINGS)
    result = writer.generate("Once", config=config)
    at = 17
    prompt, _ = writer.prompt_tokens("Once", "")
    with torch.inference_mode():
        logits, _ = writer.model(torch.tensor([[*prompt, *result.tokens[:at]]]))
    logprobs = logits[0, -1].log_softmax(dim=-1)
    scores = modify(logprobs, prompt, result.tokens[:at], writer.tokenizer.end_id, config)
    kept = filter_logits(scores[None], config)[0]
    step = explain(writer, result)[at]
    assert step.rank == logprobs.argsort(descending=True).tolist().index(step.chosen.id) + 1
    assert step.cut == int(kept.isneginf().sum())
    assert step.cut_mass == pytest.approx(float(logprobs.exp()[kept.isneginf()].sum()), abs=1e-5)
    for choice in (step.chosen, *step.choices):
        after = float(choice.id == scores.argmax()) if strategy == "greedy" else float(kept.softmax(dim=-1)[choice.id])
        assert choice.after == pytest.approx(after, abs=1e-5)
        assert choice.is_cut == bool(kept[choice.id].isneginf())


def test_parts_of_a_long_story_join(writer, monkeypatch):
    """Longer than the context, with a modifier that looks at all that was written: read in parts of 7 tokens."""
    config = GenerationConfig(strategy="sample", max_new_tokens=100, min_new_tokens=100, seed=1, no_repeat_ngram=1)
    result = writer.generate("Once", config=config)
    whole = explain(writer, result)
    monkeypatch.setattr(steps, "TOKENS_AT_A_TIME", 7)
    assert whole[70].cut > 60  # the history, each token once, is forbidden
    for part, step, logprob in zip(explain(writer, result), whole, result.logprobs, strict=True):
        assert math.log(part.chosen.before) == pytest.approx(logprob, abs=1e-4)
        assert (part.rank, part.cut, part.chosen.id) == (step.rank, step.cut, step.chosen.id)


def test_nothing_written_is_nothing_to_explain(writer):
    result = writer.generate(config=GenerationConfig(no_repeat_ngram=1, min_new_tokens=2, max_new_tokens=2, seed=1))
    empty = storygen.writer.Result(**{**result.__dict__, "tokens": (), "logprobs": ()})
    assert explain(writer, empty) == ()


def test_draw_probabilities_of_greedy_and_beams():
    scores = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).log()
    probabilities, removed = draw_probabilities(scores, GenerationConfig(strategy="greedy"))
    assert probabilities.tolist() == [[1, 0, 0, 0]]
    assert removed.tolist() == [[False, False, False, True]]
    probabilities, _ = draw_probabilities(scores, GenerationConfig(strategy="beam"))
    torch.testing.assert_close(probabilities, scores.exp())


def test_surprise_adds_up(writer):
    result = writer.generate("Once", config=GenerationConfig(max_new_tokens=5, seed=3))
    expected = -sum(result.logprobs) / math.log(2)
    assert surprise(explain(writer, result)) == pytest.approx(expected, abs=1e-3)
