import math

import pytest
import torch
import torch.nn.functional as F

from storygen.config import LSTMConfig, TransformerConfig
from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.models.lstm import LSTMLayer
from storygen.models.transformer import AttentionWeights, RMSNorm, rotate, visible, wave_angles
from tests.conftest import lively, tiny_config

CONFIGS = [
    *(tiny_config("transformer", positions=p) for p in ("rotary", "sinusoidal", "learned")),
    tiny_config("transformer", qk_norm=False),
    tiny_config("transformer", tie_embeddings=False),
    tiny_config("lstm"),
    tiny_config("lstm", tie_embeddings=False, num_layers=1),
]  # fmt: skip


def name_of(config):
    return f"{type(config).__name__}-{getattr(config, 'positions', '')}-{getattr(config, 'qk_norm', '')}"


@pytest.fixture(params=CONFIGS, ids=name_of)
def any_model(request):
    return lively(build_model(request.param))


def random_tokens(*shape, seed=0):
    return torch.randint(0, 400, shape, generator=torch.Generator().manual_seed(seed))


def test_explicit_and_fused_paths_agree_forward_and_backward(any_model):
    """The readable path is only worth reading if it is what runs."""
    tokens = random_tokens(2, 30)
    outcomes = []
    for fused in (True, False):
        any_model.use_fused(fused).zero_grad()
        logits, _ = any_model(tokens)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
        outcomes.append((logits, [p.grad.clone() for p in any_model.parameters()]))
    any_model.use_fused(True)
    (fused_logits, fused_grads), (explicit_logits, explicit_grads) = outcomes
    torch.testing.assert_close(fused_logits, explicit_logits, atol=1e-4, rtol=1e-4)
    for fused_grad, explicit_grad in zip(fused_grads, explicit_grads, strict=True):
        torch.testing.assert_close(fused_grad, explicit_grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("chunks", [(1,) * 60, (60,), (7, 1, 30, 22), (59, 1)], ids=str)
def test_any_chunks_give_the_same_logits(any_model, chunks):
    """A cache that is off by one position shows here and nowhere else."""
    tokens = random_tokens(2, 60)
    whole, _ = any_model(tokens)
    state, parts = None, []
    for chunk in tokens.split(list(chunks), dim=1):
        logits, state = any_model(chunk, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [tiny_config("transformer", context_length=16), tiny_config("lstm")], ids=name_of)
@pytest.mark.parametrize("chunks", [(1,) * 50, (20, 30), (10, 1, 39)], ids=str)
def test_chunks_agree_past_the_context(config, chunks):
    """The window slides: a story longer than the context goes on, and each token sees the same ones as in one pass."""
    model, tokens = lively(build_model(config)), random_tokens(2, 50)
    whole, _ = model(tokens)
    state, parts = None, []
    for chunk in tokens.split(list(chunks), dim=1):
        logits, state = model(chunk, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_a_transformer_sees_context_length_tokens_and_no_more():
    model = lively(build_model(tiny_config("transformer", context_length=16, num_layers=1)))
    tokens = random_tokens(1, 40)
    changed = tokens.clone()
    changed[0, 39 - 16] = (changed[0, 39 - 16] + 1) % 400
    torch.testing.assert_close(model(tokens)[0][0, -1], model(changed)[0][0, -1])
    changed[0, 39 - 15] = (changed[0, 39 - 15] + 1) % 400
    assert not torch.allclose(model(tokens)[0][0, -1], model(changed)[0][0, -1])


def test_learned_positions_end_with_a_clear_error():
    model = build_model(tiny_config("transformer", positions="learned"))
    with pytest.raises(StorygenError, match="learned positions end at 64 tokens; 65 were given"):
        model(random_tokens(1, 65))


def test_a_later_token_never_changes_an_earlier_logit(any_model):
    tokens = random_tokens(1, 40)
    before, _ = any_model(tokens)
    for position in (1, 20, 39):
        changed = tokens.clone()
        changed[0, position] = (changed[0, position] + 1) % 400
        after, _ = any_model(changed)
        torch.testing.assert_close(after[0, :position], before[0, :position], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(after[0, position], before[0, position])


def test_select_repeats_drops_and_reorders_rows(any_model):
    """Beam search reorders the batch after every step."""
    tokens, following = random_tokens(3, 10), random_tokens(1, 1, seed=1)
    _, state = any_model(tokens)
    rows = [2, 0, 0]
    selected, _ = any_model(following.expand(3, 1), state.select(rows))
    _, state = any_model(tokens[rows])
    expected, _ = any_model(following.expand(3, 1), state)
    torch.testing.assert_close(selected, expected, atol=1e-5, rtol=1e-5)


def test_rows_of_a_batch_do_not_touch_each_other(any_model):
    tokens = random_tokens(3, 20)
    together, _ = any_model(tokens)
    for row in range(3):
        alone, _ = any_model(tokens[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)


def test_rotation_depends_on_distance_alone():
    """Su et al. 2021: the product of a rotated query and key is a function of how far apart they are."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 16)

    def product(query_at, key_at):
        angles = wave_angles(torch.tensor([query_at, key_at]), 16, 10_000.0)
        cos, sin = angles.cos().repeat(1, 2), torch.cat((-angles.sin(), angles.sin()), dim=-1)
        return (rotate(q, cos[:1], sin[:1]) * rotate(k, cos[1:], sin[1:])).sum()

    torch.testing.assert_close(product(7, 3), product(107, 103), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product(7, 3), product(7, 7), atol=1e-2)


def test_attention_by_hand():
    """Two tokens, one head: the second attends to both with weights softmax([0, ln 3]) = [1/4, 3/4]."""
    q = torch.tensor([[[[0.0], [1.0]]]])
    k = torch.tensor([[[[0.0], [math.log(3)]]]])
    v = torch.tensor([[[[4.0], [8.0]]]])
    weights = AttentionWeights()(q, k, visible(2, 2, 2, q.device))
    torch.testing.assert_close(weights @ v, torch.tensor([[[[4.0], [7.0]]]]))


def test_rms_norm_by_hand():
    norm = RMSNorm(2, eps=0.0)
    torch.testing.assert_close(norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]) / math.sqrt(12.5))


def test_lstm_layer_equals_torch():
    """torch.nn.LSTM is the independent reference, with the same weights."""
    torch.manual_seed(0)
    layer, reference = LSTMLayer(5, 7), torch.nn.LSTM(5, 7, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(layer.weight_input)
        reference.weight_hh_l0.copy_(layer.weight_hidden)
        reference.bias_ih_l0.copy_(layer.bias)
        reference.bias_hh_l0.zero_()
    x, h, c = torch.randn(3, 11, 5), torch.randn(3, 7), torch.randn(3, 7)
    expected, (expected_h, expected_c) = reference(x, (h[None], c[None]))
    for fused in (True, False):
        layer.fused = fused
        y, new_h, new_c = layer(x, h, c)
        torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(new_h, expected_h[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(new_c, expected_c[0], atol=1e-6, rtol=1e-5)


def test_parameter_count_of_the_transformer():
    c = TransformerConfig()
    attention = 4 * c.hidden_size**2 + 2 * c.head_dim
    feed_forward = 3 * c.hidden_size * c.intermediate_size
    block = attention + feed_forward + 2 * c.hidden_size
    assert build_model(c).num_parameters == c.vocab_size * c.hidden_size + c.num_layers * block + c.hidden_size


def test_parameter_count_of_the_lstm():
    c = LSTMConfig()
    layers = sum(4 * c.hidden_size * (size + c.hidden_size + 1) for size in (c.embedding_size, c.hidden_size))
    assert build_model(c).num_parameters == (c.vocab_size + c.hidden_size) * c.embedding_size + layers


@pytest.mark.parametrize("config", [TransformerConfig(num_layers=2), LSTMConfig()], ids=name_of)
def test_a_new_model_knows_nothing(config):
    """A loss far from ln(vocab) at the start means that the initial weights are too large."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 4096, (2, 128))
    logits, _ = build_model(config)(tokens)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).item()
    assert abs(loss - math.log(4096)) < 0.15


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_each_model_overfits_one_batch(config):
    """A model whose gradients don't reach some part of it can't learn a batch by heart."""
    torch.manual_seed(0)
    model, tokens = build_model(config), random_tokens(4, 24)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(600):
        logits, _ = model(tokens)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1:
            return
    pytest.fail(f"the loss is still {loss.item():.3f} after 600 steps")
