"""What a model had before it, compared with the equations."""

import pytest
import torch

import storygen
from storygen.config import GenerationConfig
from storygen.explain import Attention, Memory, inside, look_inside
from storygen.explain.inside import attention_weights
from storygen.models import build_model
from storygen.models.transformer import rotate
from tests.conftest import lively, tiny_config


def by_hand(model, tokens):
    """Attention weights of every layer, head, query and key, from the weights themselves."""
    positions = torch.arange(len(tokens))[None]
    x, (cos, sin) = model._at_positions(model.embedding(torch.tensor([tokens])), positions)
    found = []
    for block in model.blocks:
        attention = block.attention
        q, k, _ = attention.qkv(block.attention_norm(x)).view(1, len(tokens), 3, attention.num_heads, -1).unbind(2)
        if attention.qk_norm:
            q, k = attention.q_norm(q), attention.k_norm(k)
        q, k = (rotate(each, cos[:, :, 0], sin[:, :, 0]).transpose(1, 2) for each in (q, k))
        scores = (q @ k.transpose(-2, -1)) / q.shape[-1] ** 0.5
        distance = positions.T - positions
        scores[..., (distance < 0) | (distance >= attention.window)] = float("-inf")
        found.append(scores.softmax(dim=-1)[0])
        x, _ = block(x, (cos, sin), distance.ge(0) & distance.lt(attention.window), None)
    return torch.stack(found)


@pytest.mark.parametrize("length", [1, 2, 20, 100])
@pytest.mark.parametrize("qk_norm", [False, True])
@torch.inference_mode()
def test_attention_equals_the_equations(length, qk_norm):
    """Also of a single token, which has nothing before it, and beyond the context of 64, where weights are 0."""
    model = lively(build_model(tiny_config("transformer", qk_norm=qk_norm)))
    tokens = [(7 * i) % 390 for i in range(length)]
    weights = attention_weights(model, tokens)
    assert weights.shape == (2, 4, length)
    torch.testing.assert_close(weights, by_hand(model, tokens)[:, :, -1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4))


@torch.inference_mode()
def test_looking_leaves_the_model_as_it_was():
    model = lively(build_model(tiny_config("transformer")))
    tokens = torch.tensor([[5, 6, 7]])
    before = model(tokens)[0]
    attention_weights(model, [5, 6, 7])
    assert model.fused and all(block.attention.fused for block in model.blocks)
    assert not any(block.attention.weights._forward_hooks for block in model.blocks)
    assert torch.equal(model(tokens)[0], before)


def test_a_transformer_attends_and_an_lstm_remembers(model_folders):
    """The token that is asked about is not among those that were read: it was chosen from them."""
    config = GenerationConfig(max_new_tokens=12, min_new_tokens=12, seed=1)
    for name, kind in (("transformer", Attention), ("lstm", Memory)):
        writer = storygen.load(model_folders / name)
        result = writer.generate("Once", "The Fox", config)
        prompt, _ = writer.prompt_tokens("Once", "The Fox")
        seen = look_inside(writer, result, 7)
        assert isinstance(seen, kind)
        assert seen.tokens == (*prompt, *result.tokens[:7])


def test_means_over_layers_and_heads():
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.2, 0.8]]])  # (layers, heads, tokens)
    seen = Attention((1, 2), weights)
    assert seen.shares().tolist() == pytest.approx([0.425, 0.575])
    assert seen.shares(layer=0).tolist() == pytest.approx([0.75, 0.25])
    assert seen.shares(head=1).tolist() == pytest.approx([0.35, 0.65])
    assert seen.shares(layer=1, head=0).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("size", [1, 3, 64])
def test_memory_equals_the_state_that_decoding_carries(model_folders, monkeypatch, size):
    """Read in parts of any size: a part of one token goes the way of decoding."""
    monkeypatch.setattr(inside, "TOKENS_AT_A_TIME", size)
    writer = storygen.load(model_folders / "lstm")
    result = writer.generate("Once", config=GenerationConfig(max_new_tokens=8, min_new_tokens=8, seed=1))
    memory = look_inside(writer, result, 6)
    state, states = None, []
    with torch.inference_mode():
        for token in memory.tokens:
            _, state = writer.model(torch.tensor([[token]]), state)
            states.append(state.hidden[-1, 0])
    torch.testing.assert_close(memory.states, torch.stack(states), atol=1e-5, rtol=1e-4)
    assert memory.states.abs().max() <= 1
    assert memory.changes[0] == pytest.approx(float(states[0].norm()), abs=1e-4)
    assert memory.changes[3] == pytest.approx(float((states[3] - states[2]).norm()), abs=1e-4)
