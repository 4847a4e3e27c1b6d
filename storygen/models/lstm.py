"""An LSTM language model with its gates written out (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from storygen.config import LSTMConfig
from storygen.models.base import LanguageModel, State
from storygen.models.linear import Linear
from storygen.models.step import LSTMStep


@dataclass(frozen=True)
class LSTMState(State):
    """What the network carries from token to token: hidden state and cell, (layers, batch, hidden) each."""

    hidden: Tensor
    cell: Tensor

    def select(self, rows: Sequence[int]) -> "LSTMState":
        chosen = torch.tensor(rows, device=self.hidden.device)
        return LSTMState(self.hidden[:, chosen], self.cell[:, chosen])

    def join(self, other: "LSTMState") -> "LSTMState":
        return LSTMState(torch.cat((self.hidden, other.hidden), dim=1), torch.cat((self.cell, other.cell), dim=1))


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the cell: the new hidden state and cell (batch, hidden) from the gates' inputs (batch, 4 * hidden).

    c' = f * c + i * g and h' = o * tanh(c'): the forget gate keeps, the input gate lets in, the output gate shows.
    """
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


class LSTMLayer(nn.Module):
    """One LSTM layer over a sequence."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden_size)
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hidden = nn.Parameter(torch.empty(4 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        with torch.no_grad():  # a forget gate that starts open lets gradients through (Jozefowicz et al. 2015)
            self.bias[hidden_size : 2 * hidden_size] = 1.0
        # PyTorch's kernel adds two biases, of which only the sum counts: ours and zeros.
        self.register_buffer("no_bias", torch.zeros(4 * hidden_size), persistent=False)
        self.fused = True

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (batch, time, hidden) for x (batch, time, input), and the last hidden state and cell."""
        if self.fused:
            weights = [self.weight_input, self.weight_hidden, self.bias, self.no_bias]
            start = [hidden[None], cell[None]]
            y, hidden, cell = torch.lstm(x, start, weights, True, 1, 0.0, self.training, False, True)
            return y, hidden[0], cell[0]
        inputs = x @ self.weight_input.T + self.bias  # for all steps at once: (batch, time, 4 * hidden)
        outputs = []
        for step in inputs.unbind(dim=1):
            hidden, cell = lstm_step(step + hidden @ self.weight_hidden.T, cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), hidden, cell


class LSTM(LanguageModel):
    """Embedding, LSTM layers, a projection back to the embedding size, and the embedding again as the output."""

    stacked: Mapping[str, int] = {"weight_input": 4, "weight_hidden": 4}

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        sizes = [config.embedding_size] + [config.hidden_size] * config.num_layers
        self.layers = nn.ModuleList(LSTMLayer(size, config.hidden_size) for size in sizes[:-1])
        self.dropout = nn.Dropout(config.dropout)
        self.projection = Linear(config.hidden_size, config.embedding_size)
        self.head = Linear(config.embedding_size, config.vocab_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.head.weight, std=0.1)
        nn.init.normal_(self.projection.weight, std=1 / math.sqrt(config.hidden_size))
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

        self.fused = True

    def forward(self, tokens: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        if tokens.shape[1] == 1 and state is not None and self.fused and LSTMStep.is_possible(self):
            step = self._current_step(lambda: LSTMStep(self, lstm_step))
            logits, hidden, cell = step(tokens[:, 0], state)
            return logits[:, None], LSTMState(hidden, cell)
        x = self.dropout(self.embedding(tokens))  # (batch, time, embedding)
        if state is None:
            zeros = x.new_zeros(self.config.num_layers, x.shape[0], self.config.hidden_size)
            state = LSTMState(zeros, zeros)
        hidden, cell = [], []
        for layer, h, c in zip(self.layers, state.hidden, state.cell, strict=True):
            x, h, c = layer(x, h, c)
            x = self.dropout(x)
            hidden.append(h)
            cell.append(c)
        return self.head(self.projection(x)), LSTMState(torch.stack(hidden), torch.stack(cell))
