"""One token for each sequence of a batch, as fast as single operators allow: what decoding does all day.

The same sums as the models' own `forward`, in which modules, and operators on a few hundred numbers, take more time
than the matrix products. So there are no modules here, and what does not depend on the tokens is done beforehand:
weights are laid out for oneDNN's kernel, gains of norms multiplied into what follows them, matrices put together.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.models.cache import KVCache
from storygen.models.linear import pack, packed_product, runs_on_onednn

if TYPE_CHECKING:
    from storygen.models.lstm import LSTM, LSTMState
    from storygen.models.transformer import Rotation, Transformer


class Step:
    """A model's weights made ready for single tokens in float32 on the CPU."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = list(model.parameters())
        self._versions = [weight._version for weight in self._weights]

    @property
    def is_current(self) -> bool:
        """Whether no weight was written to since this was made of them."""
        return [weight._version for weight in self._weights] == self._versions

    @staticmethod
    def is_possible(model: nn.Module) -> bool:
        """Whether the model can take this path now, instead of the one that learns and runs anywhere."""
        if model.training or torch.is_grad_enabled():
            return False
        weight = model.embedding.weight  # made in inference mode it would not tell when it is changed
        return runs_on_onednn(weight) and not weight.is_inference()


class TransformerStep(Step):
    """One token by a Transformer with rotary positions."""

    def __init__(self, model: "Transformer") -> None:
        super().__init__(model)
        config = model.config
        self.config, self.embedding = config, model.embedding.weight
        width, head = math.sqrt(config.hidden_size), math.sqrt(config.head_dim)
        # x * sqrt(n) / hypot(|x|, sqrt(n * eps)) is RMSNorm; sqrt(n) and the gain go into the next weights.
        self.eps = torch.tensor(width * math.sqrt(config.norm_eps))
        self.head_eps = torch.tensor(head * math.sqrt(config.norm_eps))
        self.layers = [
            (
                pack(block.attention.qkv.weight * block.attention_norm.weight * width),
                pack(block.attention.out.weight),
                pack(block.feed_forward.gate_up.weight * block.feed_forward_norm.weight * width),
                pack(block.feed_forward.down.weight),
            )
            for block in model.blocks
        ]
        self.head = pack(model.head.weight * model.norm.weight * width)
        self.gains: Tensor | None = None
        """Of queries and keys, (layers, 1, 2, 1, head_dim)."""
        if config.qk_norm:
            norms = [(block.attention.q_norm, block.attention.k_norm) for block in model.blocks]
            gains = torch.stack([torch.stack([norm.weight for norm in pair]) for pair in norms]) * head
            self.gains = gains[:, None, :, None]

    def __call__(self, tokens: Tensor, rotation: "Rotation", cache: KVCache) -> Tensor:
        """Logits (rows, vocab) after tokens (rows,), which the cache has room for; see `Transformer.forward`."""
        heads, rows = self.config.num_heads, len(tokens)
        x = F.embedding(tokens, self.embedding)  # (rows, hidden)
        cos, sin = (each[:, 0] for each in rotation)  # (rows, 1, 1, head_dim)
        if self.gains is not None:
            first, second = self.gains.chunk(2, dim=-1)
            swapped = torch.cat((second, first), dim=-1)
            turns = zip(cos * self.gains, sin * swapped, strict=True)  # (rows, 2, 1, head_dim) for each layer
        else:
            turns = ((cos, sin) for _ in self.layers)
        mask = cache.visible(1, tokens.device)
        for (qkv, out, gate_up, down), (cos, sin), (slot, keys, values) in zip(
            self.layers, turns, cache.next_slots(), strict=True
        ):
            qkv_of_x = packed_product(self._normed(x), qkv).view(rows, 3, heads, -1)  # (rows, 3, heads, head_dim)
            qk = qkv_of_x[:, :2]
            if self.gains is not None:
                qk = qk / torch.hypot(torch.linalg.vector_norm(qk, dim=-1, keepdim=True), self.head_eps)
            first, second = qk.chunk(2, dim=-1)
            q, k = torch.addcmul(qk * cos, torch.cat((second, first), dim=-1), sin).unbind(1)
            slot[0].copy_(k)
            slot[1].copy_(qkv_of_x[:, 2])
            y = F.scaled_dot_product_attention(
                q[:, :, None], keys, values, attn_mask=mask
            )  # (rows, heads, 1, head_dim)
            x = packed_product(y.view(rows, -1), out, plus=x)
            gate, up = packed_product(self._normed(x), gate_up).chunk(2, dim=-1)
            x = packed_product(F.silu(gate) * up, down, plus=x)
        cache.advance(1)
        return packed_product(self._normed(x), self.head)

    def _normed(self, x: Tensor) -> Tensor:
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self.eps)


class LSTMStep(Step):
    """One token by an LSTM: each layer is one matrix product on its input and its hidden state side by side."""

    def __init__(self, model: "LSTM", cell: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__(model)
        self.cell, self.embedding = cell, model.embedding.weight
        self.layers = [
            (pack(torch.cat((layer.weight_input, layer.weight_hidden), dim=1)), layer.bias.detach())
            for layer in model.layers
        ]
        self.projection, self.head = pack(model.projection.weight), pack(model.head.weight)

    def __call__(self, tokens: Tensor, state: "LSTMState") -> tuple[Tensor, Tensor, Tensor]:
        """Logits (rows, vocab) after tokens (rows,), hidden state and cell (layers, rows, hidden)."""
        x = F.embedding(tokens, self.embedding)
        hidden, cells = [], []
        for (weight, bias), h, c in zip(self.layers, state.hidden, state.cell, strict=True):
            x, c = self.cell(packed_product(torch.cat((x, h), dim=1), weight) + bias, c)
            hidden.append(x)
            cells.append(c)
        logits = packed_product(packed_product(x, self.projection), self.head)
        return logits, torch.stack(hidden), torch.stack(cells)
