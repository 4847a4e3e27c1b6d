"""Matrix products of the linear layers, on the kernel that is fastest here.

PyTorch multiplies float32 matrices on a CPU with MKL, which keeps to narrow instructions on processors that are not
Intel's. oneDNN, which PyTorch carries too, doesn't: 2.2 times as fast on an AMD EPYC with AVX-512, and three times for
the few rows of a decoding step, once the weights are laid out for it (benchmarks/linear.py).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ONEDNN = torch.backends.mkldnn.is_available()
ROWS_PACKED_FOR = 16
"""Rows of a decoding step for which the packed weights are laid out; they serve 1 to 32 about as well."""


@torch.library.custom_op("storygen::product", mutates_args=())  # `torch.compile` does not know oneDNN's own operator
def product(x: Tensor, weight: Tensor) -> Tensor:
    """The product x @ weight.T by oneDNN: x (..., in), weight (out, in), float32 on the CPU."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


@product.register_fake
def _shape(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    x, weight = ctx.saved_tensors
    x, flat = x.flatten(0, -2), gradient.flatten(0, -2)  # (tokens, in) and (tokens, out)
    # Either order gives the same matrix; the kernel is fastest when its first operand is the narrower one.
    narrow = x.shape[1] < flat.shape[1]
    by_weight = product(x.T, flat.T).T.contiguous() if narrow else product(flat.T, x.T)
    return product(gradient, weight.T), by_weight


product.register_autograd(_gradients, setup_context=_save)


def pack(weight: Tensor) -> Tensor:
    """The weight (out, in) laid out for `packed_product`; an opaque tensor."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_PACKED_FOR)


def packed_product(x: Tensor, packed: Tensor, plus: Tensor | None = None) -> Tensor:
    """The product x @ weight.T (+ plus) for x (rows, in); not differentiable."""
    if plus is None:
        return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    return torch.ops.mkldnn._linear_pointwise.binary(x, plus, packed, None, "add")


def runs_on_onednn(weight: Tensor) -> bool:
    """Whether products with this weight can be computed by oneDNN."""
    return ONEDNN and weight.device.type == "cpu" and weight.dtype == torch.float32


class Linear(nn.Linear):
    """A linear layer without bias."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        is_plain = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and x.dim() > 1 and x.numel() > 0
        if is_plain and runs_on_onednn(self.weight):
            return product(x, self.weight)
        return F.linear(x, self.weight)
