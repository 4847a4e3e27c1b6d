"""One token for each sequence of a batch, as fast as single operators allow: what decoding does all day.

The same sums as the models' own `forward`, in which modules, and operators on a few hundred numbers, take more time
than the matrix products. So there are no modules here, and what does not depend on the tokens is done beforehand:
weights are laid out for oneDNN's kernel, gains of norms multiplied into what follows them, matrices put together.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.models.cache import KVCache
from storygen.models.linear import pack, packed_product, runs_on_onednn

if TYPE_CHECKING:
    from storygen.models.lstm import LSTM, LSTMState
    from storygen.models.transformer import Rotation, Transformer

Layer = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weights of a block: queries, keys and values; output; gate and up; down."""


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
        self.sums = StepSums(model)
        layers, head = scaled_weights(model)
        self.layers = [tuple(pack(weight) for weight in layer) for layer in layers]
        self.head = pack(head)
        self.compiled: Callable[..., tuple[Tensor, Tensor]] | None = None
        """A `compiled.CompiledStep` that takes the place of `sums`."""

    def __call__(self, tokens: Tensor, rotation: "Rotation", cache: KVCache) -> Tensor:
        """Logits (rows, vocab) after tokens (rows,), which the cache has room for; see `Transformer.forward`."""
        cos, sin = (each[:, 0] for each in rotation)  # (rows, 1, 1, head_dim)
        if self.compiled is not None:
            logits, new = self.compiled(tokens, cos, sin, *cache.past())
            cache.write(new)
            return logits
        mask = cache.visible(1, tokens.device)
        slots = cache.next_slots()

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            slot, keys, values = next(slots)
            slot[0].copy_(k)
            slot[1].copy_(v)
            return F.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=mask)[:, :, 0]

        logits = self.sums(tokens, cos, sin, self.layers, self.head, packed_product, attend)
        cache.advance(1)
        return logits


class StepSums(nn.Module):
    """The sums of a step, whatever multiplies the matrices and wherever keys and values are kept."""

    def __init__(self, model: "Transformer") -> None:
        super().__init__()
        config = model.config
        self.num_heads = config.num_heads
        self.embedding = model.embedding.weight.detach()
        # x * sqrt(n) / hypot(|x|, sqrt(n * eps)) is RMSNorm; sqrt(n) and the gain are in the weights that follow.
        self.eps = torch.tensor(math.sqrt(config.hidden_size * config.norm_eps))
        self.head_eps = torch.tensor(math.sqrt(config.head_dim * config.norm_eps))
        self.gains: Tensor | None = None
        """Of queries and keys, (layers, 1, 2, 1, head_dim), and of their swapped halves."""
        if config.qk_norm:
            norms = [(block.attention.q_norm, block.attention.k_norm) for block in model.blocks]
            gains = torch.stack([torch.stack([norm.weight.detach() for norm in pair]) for pair in norms])
            self.gains = gains[:, None, :, None] * math.sqrt(config.head_dim)
            self.swapped_gains = self.gains.roll(config.head_dim // 2, dims=-1)

    def forward(
        self,
        tokens: Tensor,
        cos: Tensor,
        sin: Tensor,
        layers: Iterable[Layer],
        head: Tensor,
        product: Callable[..., Tensor],
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Logits (rows, vocab) after tokens (rows,).

        cos and sin are (rows, 1, 1, head_dim). `product(x, weight, plus)` is x @ weight.T + plus, and `attend` gets a
        layer's query, key and value, (rows, heads, head_dim) each, and gives what the query sees.
        """
        x = F.embedding(tokens, self.embedding)  # (rows, hidden)
        if self.gains is not None:
            cos, sin = cos * self.gains, sin * self.swapped_gains  # (layers, rows, 2, 1, head_dim)
        for number, (qkv, out, gate_up, down) in enumerate(layers):
            heads = product(self._normed(x, self.eps), qkv).view(len(tokens), 3, self.num_heads, -1)
            qk, v = heads[:, :2], heads[:, 2]  # (rows, 2, heads, head_dim) and (rows, heads, head_dim)
            turn = (cos, sin)
            if self.gains is not None:
                qk, turn = self._normed(qk, self.head_eps), (cos[number], sin[number])
            first, second = qk.chunk(2, dim=-1)
            q, k = torch.addcmul(qk * turn[0], torch.cat((second, first), dim=-1), turn[1]).unbind(1)
            x = product(attend(q, k, v).reshape(len(tokens), -1), out, x)
            gate, up = product(self._normed(x, self.eps), gate_up).chunk(2, dim=-1)
            x = product(F.silu(gate) * up, down, x)
        return product(self._normed(x, self.eps), head)

    @staticmethod
    def _normed(x: Tensor, eps: Tensor) -> Tensor:
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), eps)


def scaled_weights(model: "Transformer") -> tuple[Sequence[Layer], Tensor]:
    """The weights of the blocks and of the output, with the norm before each multiplied into it."""
    width = math.sqrt(model.config.hidden_size)
    layers = [
        (
            (block.attention.qkv.weight * block.attention_norm.weight * width).detach(),
            block.attention.out.weight.detach(),
            (block.feed_forward.gate_up.weight * block.feed_forward_norm.weight * width).detach(),
            block.feed_forward.down.weight.detach(),
        )
        for block in model.blocks
    ]
    return layers, (model.head.weight * model.norm.weight * width).detach()


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
