"""Low-rank adapters: the matrices stay as they are and learn a difference of low rank (LoRA, Hu et al. 2021).

An adapter is a parametrization of the weight, W + B A * SCALE, so all that reads the weight, the LSTM's fused kernel
too, sees the sum and no model knows of adapters. The gradient of the whole matrix is still computed: what is saved is
the optimizer's memory, and what is won is that a few numbers can't overwrite much.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from storygen.errors import StorygenError
from storygen.models import LanguageModel, build_model

SCALE = 2.0
"""alpha / r of the paper, the same for every rank."""


class LowRank(nn.Module):
    """W + B A * SCALE for a matrix W (out, in), with A (rank, in) drawn at random and B (out, rank) zero at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out_features, in_features = weight.shape
        self.a = nn.Parameter(torch.randn(rank, in_features) / math.sqrt(in_features))
        self.b = nn.Parameter(torch.zeros(out_features, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.b, self.a, alpha=SCALE)


def add_adapters(model: LanguageModel, rank: int) -> LanguageModel:
    """Freezes the model and gives an adapter to each matrix between embedding and output; returns the same model."""
    names = [
        name for name, weight in model.named_parameters() if weight.ndim == 2 and not name.startswith(model.tables)
    ]
    smallest = min(min(model.get_parameter(name).shape) for name in names)
    if rank > smallest:
        raise StorygenError(f"lora_rank is {rank}; the smallest matrix of the model allows {smallest} at most")
    model.requires_grad_(False)
    for name in names:
        module, _, weight = name.rpartition(".")
        adapter = LowRank(model.get_parameter(name), rank)
        parametrize.register_parametrization(model.get_submodule(module), weight, adapter)
    return model


@torch.no_grad()
def merged(model: LanguageModel) -> LanguageModel:
    """A plain model of its own whose weights are the sums."""
    plain = build_model(model.config)
    for name, weight in plain.named_parameters():
        module, _, attribute = name.rpartition(".")
        weight.copy_(getattr(model.get_submodule(module), attribute))
    return plain
