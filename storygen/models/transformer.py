"""A decoder-only Transformer, top to bottom: norm, positions, attention, feed-forward, block, model.

Vaswani et al. 2017 (arXiv 1706.03762) with what has proved itself since: pre-norm RMSNorm (Zhang & Sennrich 2019),
rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020), no biases, tied embeddings, and RMSNorm on queries and keys
(Henry et al. 2020). Weight for weight this is the Llama layout, or Qwen3's with `qk_norm`.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.config import TransformerConfig
from storygen.errors import StorygenError
from storygen.models.base import LanguageModel
from storygen.models.cache import KVCache
from storygen.models.linear import Linear
from storygen.models.step import TransformerStep

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of the angles by which heads turn, each (batch or 1, time, 1, 1, head_dim); see `rotate`."""


class RMSNorm(nn.Module):
    """Scales a vector to a root mean square of 1, then each coordinate by a learned gain (arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def wave_angles(positions: Tensor, width: int, base: float) -> Tensor:
    """Angle of each of width / 2 waves at each position: (..., width / 2), wavelengths from 2 pi to 2 pi * base."""
    frequencies = base ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    return positions.float()[..., None] * frequencies


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair (x[i], x[i + head_dim / 2]) by its angle, so that a dot product depends on distance alone.

    cos and sin are (..., head_dim), each angle twice, and sin negative the first time.  (arXiv 2104.09864, 3.4)
    """
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)


def sinusoids(positions: Tensor, width: int, base: float) -> Tensor:
    """Position vectors of the first Transformer, (..., width): sines, then cosines (arXiv 1706.03762, section 3.5)."""
    angles = wave_angles(positions, width, base)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def visible(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Which key each query may look at, (queries, keys): itself and at most window - 1 before it.

    The queries are the last ones of the keys.
    """
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)
    return (key <= query) & (key > query - window)


class AttentionWeights(nn.Module):
    """How much each query attends to each key: a softmax, over the keys that it may see, of how well they match.

    q and k are (batch, heads, time, head_dim), the mask (queries, keys) or (batch, 1, queries, keys), the weights
    (batch, heads, queries, keys). A module of its own so that a hook can look at them.  (1706.03762, eq. 1)
    """

    def forward(self, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)


class Attention(nn.Module):
    """Causal multi-head self-attention over the last `context_length` tokens."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.num_heads, self.window, self.layer = config.num_heads, config.context_length, layer
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = Linear(config.hidden_size, config.hidden_size)
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.weights = AttentionWeights()
        self.fused = True

    def forward(
        self, x: Tensor, rotation: Rotation | None, mask: Tensor | None, cache: KVCache | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The attended x (batch, time, hidden), and the keys and values of its tokens.

        The mask is as `visible` makes it. Without one, the tokens of a new sequence see those before them, and a
        single token after others all of them.
        """
        batch, time, hidden = x.shape
        qkv = self.qkv(x).view(batch, time, 3, self.num_heads, -1)  # (batch, time, 3, heads, head_dim)
        qk, v = qkv[:, :, :2], qkv[:, :, 2]
        if self.qk_norm:  # queries and keys in one go: at a token a step the number of operators is what takes time
            gains = torch.stack((self.q_norm.weight, self.k_norm.weight))[:, None]  # (2, 1, head_dim)
            qk = F.rms_norm(qk, gains.shape[-1:], eps=self.q_norm.eps) * gains
        if rotation is not None:
            qk = rotate(qk, *rotation)
        q, k, v = (each.transpose(1, 2) for each in (qk[:, :, 0], qk[:, :, 1], v))  # (batch, heads, time, head_dim)
        keys, values = (k, v) if cache is None else cache.append(self.layer, k, v)
        if self.fused:
            causal = mask is None and time > 1
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, is_causal=causal)
        else:
            mask = visible(time, keys.shape[2], self.window, x.device) if mask is None else mask
            y = self.weights(q, keys, mask) @ values  # each query's average of the values
        y = y.transpose(1, 2).reshape(batch, time, hidden)  # heads side by side again
        return self.out(y), (k, v)


class FeedForward(nn.Module):
    """SwiGLU: a linear layer gated by the swish of another, then back to the hidden size (arXiv 2002.05202)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream and added back to it."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotation: Rotation | None, mask: Tensor | None, cache: KVCache | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, kept = self.attention(self.attention_norm(x), rotation, mask, cache)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x, kept


class Transformer(LanguageModel):
    """Embedding, blocks, norm, and the embedding again as the output."""

    stacked: Mapping[str, int] = {"qkv": 3, "gate_up": 2}

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.context_length, config.hidden_size)
            self.max_positions = config.context_length
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.head = Linear(config.hidden_size, config.vocab_size)
        self.apply(self._initialise)
        for block in self.blocks:  # each block starts as the identity, which steadies the first steps
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.feed_forward.down.weight)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.fused = True
        self.window = config.context_length

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor, state: KVCache | None = None) -> tuple[Tensor, KVCache]:
        config, time, device = self.config, tokens.shape[1], tokens.device
        read = state.positions if state else [0]
        length = time + max(read)
        if self.max_positions is not None and length > self.max_positions:
            raise StorygenError(f"learned positions end at {self.max_positions} tokens; {length} were given")
        positions = torch.arange(time, device=device)[None]  # (1, time), or (batch, time) with a state
        mask = None
        if state is not None:
            state.reserve(time)
            positions = positions + torch.tensor(read, device=device)[:, None]
            if time == 1 and self.has_step:
                step = self._current_step(lambda: TransformerStep(self))
                return step(tokens[:, 0], self._rotation(positions), state)[:, None], state
            mask = state.visible(time, device)
        elif time > config.context_length:
            mask = visible(time, time, config.context_length, device)
        x, rotation = self._at_positions(self.embedding(tokens), positions)
        x = self.dropout(x)
        layers = []
        for block in self.blocks:
            x, kept = block(x, rotation, mask, state)
            layers.append(kept)
        state = KVCache(layers, config.context_length) if state is None else state.advance(time)
        return self.head(self.norm(x)), state

    @property
    def has_step(self) -> bool:
        """Whether single tokens take the fast path of `step` now."""
        return self.fused and self.config.positions == "rotary" and TransformerStep.is_possible(self)

    def use_step(self, step: TransformerStep | None) -> None:
        """Takes single tokens by this step until the weights change; None makes a new one when it is needed."""
        self._step = step

    def _at_positions(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Rotation | None]:
        """The embeddings (batch, time, hidden) told their positions (batch or 1, time), or the rotation that tells."""
        config = self.config
        if config.positions == "learned":
            return x + self.positions(positions), None
        if config.positions == "sinusoidal":
            # Embeddings start at a scale of 0.02, so the waves, of scale 1, are brought down to it.
            return x + 0.02 * sinusoids(positions, config.hidden_size, config.rope_theta).to(x.dtype), None
        cos, sin = self._rotation(positions)
        return x, (cos.to(x.dtype), sin.to(x.dtype))

    def _rotation(self, positions: Tensor) -> Rotation:
        angles = wave_angles(positions, self.config.head_dim, self.config.rope_theta)[:, :, None, None]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
