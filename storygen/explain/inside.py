"""What a model has before it when it chooses a token: the Transformer's attention, the LSTM's memory."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.decoding.stepper import STEPPER
from storygen.explain.steps import TOKENS_AT_A_TIME
from storygen.models import LanguageModel, State
from storygen.models.lstm import LSTM
from storygen.models.transformer import Transformer
from storygen.writer import Result, Writer


@dataclass(frozen=True)
class Attention:
    """How much a Transformer looked at each token it had read, when it chose the next one."""

    tokens: tuple[int, ...]
    weights: Tensor
    """(layers, heads, tokens); each head's add up to 1. Tokens beyond the context have 0."""

    def shares(self, layer: int | None = None, head: int | None = None) -> Tensor:
        """The weights (tokens,) of one layer and head, or the mean over all layers, all heads, or both."""
        weights = self.weights.mean(dim=0) if layer is None else self.weights[layer]
        return weights.mean(dim=0) if head is None else weights[head]


@dataclass(frozen=True)
class Memory:
    """What an LSTM carried after each token it had read, when it chose the next one."""

    tokens: tuple[int, ...]
    states: Tensor
    """The hidden state of the top layer, (tokens, units), each from -1 to 1."""

    @property
    def changes(self) -> Tensor:
        """How far each token moved the hidden state: the Euclidean distance (tokens,), from zeros for the first."""
        return F.pad(self.states, (0, 0, 1, 0)).diff(dim=0).norm(dim=1)


def look_inside(writer: Writer, result: Result, at: int) -> Attention | Memory:
    """What the model had before it when it chose token `at` of a result."""
    prompt, _ = writer.prompt_tokens(result.opening, result.title)
    tokens = (*prompt, *result.tokens[:at])
    if isinstance(writer.model, Transformer):
        return Attention(tokens, attention_weights(writer.model, tokens))
    return Memory(tokens, hidden_states(writer.model, tokens))


def attention_weights(model: Transformer, tokens: Sequence[int]) -> Tensor:
    """How much each head attends to each of the tokens after it has read the last: (layers, heads, tokens).

    Only the last token takes the written-out path, which has the weights to look at.
    """
    state = None
    for _, read in _read(model, tokens[:-1], model):
        state = read

    def look() -> Tensor:
        found: list[Tensor] = []
        fused = model.fused
        modules = [block.attention.weights for block in model.blocks]
        with hooked(modules, lambda output: found.append(output[0, :, -1])):
            try:
                model.use_fused(False)
                model(_row(model, tokens[-1:]), state)
            finally:
                model.use_fused(fused)
        return torch.stack(found).float().cpu()  # of the slots that it can see

    weights = STEPPER.run(look)
    return F.pad(weights, (len(tokens) - weights.shape[-1], 0))


def hidden_states(model: LSTM, tokens: Sequence[int]) -> Tensor:
    """The top layer's hidden state after each of the tokens, (tokens, hidden)."""

    def look(part: Tensor, state: State | None) -> tuple[Tensor, State]:
        found: list[Tensor] = []
        # A single token after others takes a fast path that has no layers; the state that it gives will do.
        with hooked([model.layers[-1]], lambda output: found.append(output[0][0])):
            _, state = model(part, state)
        return (found[0] if found else state.hidden[-1]).float().cpu(), state

    return torch.cat([states for states, _ in _read(model, tokens, look)])


def _read(
    model: LanguageModel, tokens: Sequence[int], step: Callable[[Tensor, State | None], tuple[Tensor, State]]
) -> Iterator[tuple[Tensor, State]]:
    """What `step` gives for each part of the tokens and the state before it; other stories go on in between."""
    state = None
    for first in range(0, len(tokens), TOKENS_AT_A_TIME):
        given, state = STEPPER.run(partial(step, _row(model, tokens[first : first + TOKENS_AT_A_TIME]), state))
        yield given, state


def _row(model: LanguageModel, tokens: Sequence[int]) -> Tensor:
    return torch.tensor([tokens], device=next(model.parameters()).device)


@contextlib.contextmanager
def hooked(modules: Sequence[nn.Module], look: Callable[[Any], None]) -> Iterator[None]:
    """Shows what each of the modules gives to `look`, as long as it lasts."""
    hooks = [module.register_forward_hook(lambda _, inputs, output: look(output)) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
