"""What a language model offers to decoding, evaluation and training, whatever is inside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from storygen.config import ModelConfig


class State(ABC):
    """What a model must remember of the tokens it has seen: one row for each sequence of the batch.

    A state is used up by what it is given to: `forward`, `select` and `join` may write into its memory, and only what
    they return goes on.
    """

    @abstractmethod
    def select(self, rows: Sequence[int]) -> "State":
        """The state of the given rows, in that order: repeats, drops and reorders sequences of the batch."""

    @abstractmethod
    def join(self, other: "State") -> "State":
        """The rows of this state and after them those of the other, which may have read more tokens or fewer."""


class LanguageModel(nn.Module, ABC):
    """Next-token logits from tokens. Feeding a sequence in any chunks gives the same logits as feeding it whole."""

    config: ModelConfig
    max_positions: int | None = None
    """How many tokens it can read in all; None when there is no such limit."""
    window: int | None = None
    """How many tokens back it can look; None for a state without such a limit."""
    tables: tuple[str, ...] = ("embedding", "positions", "head")
    """Modules whose matrices have a row for each token or position, rather than to lie between two hidden layers."""
    stacked: Mapping[str, int] = {}
    """Matrices that are several in one, row upon row: a part of the parameter's name, and how many."""
    _step: Any = None
    """The weights made ready for single tokens; made when it is needed, and anew when the weights have changed."""

    @abstractmethod
    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits (batch, time, vocab) after each of the tokens (batch, time), and the state to go on from.

        `state` is what an earlier call returned for the tokens before these; None at the start.
        """

    def _current_step(self, make: Callable[[], Any]) -> Any:
        """The step, made anew if there is none or weights were written to since."""
        if self._step is None or not self._step.is_current:
            self._step = make()
        return self._step

    # Optimizers may write to weights without a trace, so what was made of them ends where training or loading begins.
    # It is no part of the model, and can't be copied.

    def train(self, mode: bool = True) -> Self:
        self._step = None
        return super().train(mode)

    def load_state_dict(self, *arguments: Any, **settings: Any) -> Any:
        self._step = None
        return super().load_state_dict(*arguments, **settings)

    def _apply(self, *arguments: Any, **settings: Any) -> Self:
        self._step = None
        return super()._apply(*arguments, **settings)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_step": None}

    def use_fused(self, fused: bool) -> "LanguageModel":
        """Chooses PyTorch's fused kernels (True, the default) or the written-out equations; both give the same."""
        for module in self.modules():
            if hasattr(module, "fused"):
                module.fused = fused
        return self

    def parts_of(self, name: str) -> int:
        """How many matrices the parameter of that name holds, row upon row."""
        return next((parts for part, parts in self.stacked.items() if part in name.split(".")), 1)

    @property
    def num_parameters(self) -> int:
        """Number of weights; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())
