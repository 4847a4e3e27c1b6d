import math

import pytest
import torch

from storygen.lesson.attention import attention_maps
from storygen.models import build_model
from tests.conftest import lively, tiny_config

TOKENS = [3, 14, 15, 9, 2, 6]


@pytest.fixture(scope="module")
def transformer():
    return lively(build_model(tiny_config("transformer")))


def test_rows_add_up_to_one_and_nothing_looks_ahead(transformer):
    maps = attention_maps(transformer, TOKENS)
    assert maps.shape == (2, 4, 6, 6)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 4, 6))
    assert (maps.triu(diagonal=1) == 0).all()
    assert (maps >= 0).all()
    torch.testing.assert_close(attention_maps(transformer, [5]), torch.ones(2, 4, 1, 1))


def test_the_first_layer_by_hand(transformer):
    """Each weight from the definition, one number at a time: norm, projection, norm of the heads, rotation, softmax."""
    config, block = transformer.config, transformer.blocks[0]
    size, width = config.hidden_size, config.head_dim

    def normed(vector, gain):
        mean = sum(value * value for value in vector) / len(vector)
        return [g * value / math.sqrt(mean + config.norm_eps) for value, g in zip(vector, gain.tolist(), strict=True)]

    def head_of(token, position, head, part):
        vector = normed(transformer.embedding.weight[token].tolist(), block.attention_norm.weight)
        rows = block.attention.qkv.weight[part * size + head * width : part * size + (head + 1) * width].tolist()
        out = [sum(w * value for w, value in zip(row, vector, strict=True)) for row in rows]
        out = normed(out, (block.attention.q_norm, block.attention.k_norm)[part].weight)
        half, turned = width // 2, [0.0] * width
        for i in range(half):
            angle = position * config.rope_theta ** (-2 * i / width)
            turned[i] = out[i] * math.cos(angle) - out[i + half] * math.sin(angle)
            turned[i + half] = out[i + half] * math.cos(angle) + out[i] * math.sin(angle)
        return turned

    maps = attention_maps(transformer, TOKENS)
    for head in (0, 3):
        keys = [head_of(token, place, head, 1) for place, token in enumerate(TOKENS)]
        for row, token in enumerate(TOKENS):
            query = head_of(token, row, head, 0)
            fits = [sum(map(float.__mul__, query, key)) / math.sqrt(width) for key in keys[: row + 1]]
            total = sum(map(math.exp, fits))
            expected = [math.exp(fit) / total for fit in fits]
            assert maps[0, head, row, : row + 1].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_model_is_left_as_it_was(transformer):
    """A hook or the slow path that stayed behind would slow every story down that is written afterwards."""
    tokens = torch.tensor([TOKENS])
    before = transformer(tokens)[0]
    attention_maps(transformer, TOKENS)
    with pytest.raises(IndexError):
        attention_maps(transformer, [100_000])
    assert all(module.fused for module in transformer.modules() if hasattr(module, "fused"))
    assert not any(module._forward_hooks for module in transformer.modules())
    torch.testing.assert_close(transformer(tokens)[0], before, rtol=0, atol=0)


def test_no_look_reaches_beyond_the_context():
    model = lively(build_model(tiny_config("transformer", context_length=8)))
    maps = attention_maps(model, list(range(12)))
    assert (maps.tril(diagonal=-8) == 0).all()
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 4, 12))
