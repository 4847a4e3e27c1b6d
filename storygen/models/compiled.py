"""The step of a Transformer compiled into one piece of C++ by `torch.compile`: faster, after a minute of compiling.

With one row a step is twice as fast: PyTorch's own kernel for such narrow products is made for the very shapes, and
nothing is called in between. It needs a C++ compiler, so it is an option, and the plain step stays where it fails.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.models.step import Layer, StepSums, TransformerStep, scaled_weights
from storygen.models.transformer import Transformer

TUNED_ROWS = 4
"""Up to so many rows, kernels are chosen by trying them: one row has code of its own, the others share theirs."""
SETTINGS = {"freezing": True, "cpp_wrapper": True}
TUNING = {"max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"}


class FunctionalStep(nn.Module):
    """A step that reads the keys and values of the past and returns the new ones, with nothing written in place."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.sums = StepSums(model)
        layers, head = scaled_weights(model)
        # Parameters, as only those are constants to the compiler, which lays them out for its kernels.
        self.weights = nn.ParameterList(
            nn.Parameter(weight, requires_grad=False) for layer in layers for weight in layer
        )
        self.head = nn.Parameter(head, requires_grad=False)

    def forward(self, tokens: Tensor, cos: Tensor, sin: Tensor, past: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (rows, vocab) and the new keys and values (layers, 2, rows, heads, head_dim).

        past is (layers, 2, rows, heads, slots, head_dim); bias (rows, slots) is added to the scores: 0, or -inf for a
        slot that the row does not see.
        """
        weights = list(self.weights)
        layers: list[Layer] = [tuple(weights[start : start + 4]) for start in range(0, len(weights), 4)]
        new: list[Tensor] = []

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = past[len(new)].unbind(0)
            new.append(torch.stack((k, v)))
            # Products that are summed at once: compiled, that is one pass over the keys, faster than a matrix product.
            scores = torch.cat(((q[:, :, None] * keys).sum(-1) + bias[:, None], (q * k).sum(-1, keepdim=True)), dim=-1)
            shares = (scores * q.shape[-1] ** -0.5).softmax(dim=-1)[..., None]  # (rows, heads, slots + 1, 1)
            return (shares[:, :, :-1] * values).sum(2) + shares[:, :, -1] * v

        return self.sums(tokens, cos, sin, layers, self.head, _product, attend), torch.stack(new)


def _product(x: Tensor, weight: Tensor, plus: Tensor | None = None) -> Tensor:
    return F.linear(x, weight) if plus is None else F.linear(x, weight) + plus


class CompiledStep:
    """Takes and gives what `FunctionalStep` does, by the code for the number of rows."""

    def __init__(self, model: Transformer) -> None:
        step = FunctionalStep(model).eval()
        self._few, self._many = torch.compile(step, dynamic=True), torch.compile(step, dynamic=True)

    def __call__(self, tokens: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.tensor(tokens.tolist())  # its strides and kind must never differ, or it is compiled anew
        return (self._few if len(tokens) <= TUNED_ROWS else self._many)(tokens, *others)


@torch.inference_mode()
def compile_step(model: Transformer) -> bool:
    """Compiles the model's step, in less than a minute; False, and a warning, if that fails or the model has none.

    Call it where the model will be used: the code is made for the number of threads that the calling thread has.
    """
    from torch._inductor import config  # takes a second to import, which nobody else needs to wait for

    if not model.has_step:
        warnings.warn("this model has no step to compile", stacklevel=2)
        return False
    step = TransformerStep(model)
    step.compiled = CompiledStep(model)
    model.use_step(step)
    try:
        for rows, settings in ((1, TUNING), (TUNED_ROWS, TUNING), (TUNED_ROWS + 1, {})):
            # Not the `options` of `torch.compile`, of which those that matter are ignored (PyTorch 2.13).
            with config.patch({**SETTINGS, **settings}):
                _, state = model(torch.zeros(rows, 7, dtype=torch.long))
                for _ in range(3):
                    _, state = model(torch.zeros(rows, 1, dtype=torch.long), state)
    except Exception as error:
        model.use_step(None)
        reason = str(error).strip().splitlines()[0][:200]
        warnings.warn(f"the step could not be compiled, so the plain one is used: {reason}", stacklevel=2)
        return False
    return True
