"""A decoder-only Transformer, top to bottom: norm, positions, attention, feed-forward, block, model.

Vaswani et al. 2017 (arXiv 1706.03762) with what has proved itself since: pre-norm RMSNorm (Zhang & Sennrich 2019),
rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020), no biases, tied embeddings, and RMSNorm on queries and keys
(Henry et al. 2020). Weight for weight this is the Llama layout, or Qwen3's with `qk_norm`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.config import TransformerConfig
from storygen.errors import StorygenError
from storygen.models.base import LanguageModel, State


class RMSNorm(nn.Module):
    """Scales a vector to a root mean square of 1, then each coordinate by a learned gain (arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def wave_angles(positions: Tensor, width: int, base: float) -> Tensor:
    """Angle of each of width / 2 waves at each position: (time, width / 2), wavelengths from 2 pi to 2 pi * base."""
    frequencies = base ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    return positions.float()[:, None] * frequencies


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair (x[i], x[i + head_dim / 2]) by its angle, so that a dot product depends on distance alone.

    x is (batch, heads, time, head_dim); cos and sin are (time, head_dim / 2).  (arXiv 2104.09864, section 3.4)
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def sinusoids(positions: Tensor, width: int, base: float) -> Tensor:
    """Position vectors of the first Transformer, (time, width): sines, then cosines (arXiv 1706.03762, section 3.5)."""
    angles = wave_angles(positions, width, base)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def visible(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Which key each query may look at, (queries, keys): itself and at most window - 1 before it.

    The queries are the last ones of the keys.
    """
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)
    return (key <= query) & (key > query - window)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention, written out: each query's average of the values, weighted by how its key matches.

    All are (batch, heads, time, head_dim), the mask (queries, keys).  (arXiv 1706.03762, equation 1)
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, queries, keys)
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return weights @ v


@dataclass(frozen=True)
class KVCache(State):
    """Keys and values of the tokens that can still be seen, (batch, heads, time, head_dim) for each layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    length: int
    """How many tokens have been read in all; the keys hold at most the last context_length - 1 of them."""

    def select(self, rows: Tensor) -> "KVCache":
        return KVCache(tuple(k[rows] for k in self.keys), tuple(v[rows] for v in self.values), self.length)


class Attention(nn.Module):
    """Causal multi-head self-attention over the last `context_length` tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads, self.window = config.num_heads, config.context_length
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()
        self.fused = True

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The attended x (batch, time, hidden) and the keys and values to remember."""
        batch, time, hidden = x.shape
        # (batch, time, 3 * hidden) -> three of (batch, heads, time, head_dim)
        q, k, v = self.qkv(x).view(batch, time, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        keys = k.shape[2]
        whole = keys == time <= self.window  # a sequence from its start: the plain causal triangle
        one = time == 1 and keys <= self.window  # a single token, which sees all that is kept
        if not self.fused:
            y = attend(q, k, v, visible(time, keys, self.window, x.device))
        elif whole or one:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=whole and not one)
        else:
            mask = visible(time, keys, self.window, x.device)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.transpose(1, 2).reshape(batch, time, hidden)  # heads side by side again
        kept = max(0, keys - (self.window - 1))  # the next token sees itself and window - 1 others
        return self.out(y), (k[:, :, kept:], v[:, :, kept:])


class FeedForward(nn.Module):
    """SwiGLU: a linear layer gated by the swish of another, then back to the hidden size (arXiv 2002.05202)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream and added back to it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, kept = self.attention(self.attention_norm(x), rotation, past)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x, kept


class Transformer(LanguageModel):
    """Embedding, blocks, norm, and the embedding again as the output."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.context_length, config.hidden_size)
            self.max_positions = config.context_length
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.apply(self._initialise)
        for block in self.blocks:  # each block starts as the identity, which steadies the first steps
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.feed_forward.down.weight)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor, state: KVCache | None = None) -> tuple[Tensor, KVCache]:
        config = self.config
        seen = state.length if state else 0
        length = seen + tokens.shape[1]
        if self.max_positions is not None and length > self.max_positions:
            raise StorygenError(f"learned positions end at {self.max_positions} tokens; {length} were given")
        positions = torch.arange(seen, length, device=tokens.device)
        x = self.embedding(tokens)  # (batch, time, hidden)
        rotation = None
        if config.positions == "rotary":
            angles = wave_angles(positions, config.head_dim, config.rope_theta)
            rotation = (angles.cos().to(x.dtype), angles.sin().to(x.dtype))
        elif config.positions == "sinusoidal":
            # Embeddings start at a scale of 0.02, so the waves, of scale 1, are brought down to it.
            x = x + 0.02 * sinusoids(positions, config.hidden_size, config.rope_theta).to(x.dtype)
        else:
            x = x + self.positions(positions)
        x = self.dropout(x)
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            past = (state.keys[layer], state.values[layer]) if state else None
            x, (k, v) = block(x, rotation, past)
            keys.append(k)
            values.append(v)
        return self.head(self.norm(x)), KVCache(tuple(keys), tuple(values), length)
