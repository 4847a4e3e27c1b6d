"""AdamW, or Muon for the hidden matrices with AdamW for the rest, and a learning rate that rises and falls."""

import math
from collections import defaultdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.models import LanguageModel
from storygen.models.linear import product, runs_on_onednn
from storygen.training.settings import TrainConfig


def build_optimizer(model: LanguageModel, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) in two groups: matrices, which decay, and vectors, which don't.

    With `muon` the matrices between embedding and output are in further groups, one for each number of parts.
    """
    rest: list[nn.Parameter] = []
    hidden: dict[int, list[nn.Parameter]] = defaultdict(list)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter in trained:
        if config.optimizer == "muon" and parameter.ndim == 2 and not name.startswith(model.tables):
            hidden[model.parts_of(name)].append(parameter)
        else:
            rest.append(parameter)
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    for parts, parameters in hidden.items():
        muon = {"lr": config.muon_learning_rate, "momentum": config.muon_momentum, "parts": parts}
        groups.append({"params": parameters, "weight_decay": config.weight_decay, **muon})
    optimizer = (MuonWithAdamW if hidden else torch.optim.AdamW)(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # what the schedule takes its share of
    return optimizer


class MuonWithAdamW(torch.optim.AdamW):
    """AdamW, but groups with a `momentum` step in the direction of it made orthogonal (Muon, Jordan et al. 2024).

    As `torch.optim.Muon`, with three differences. Its Newton-Schulz iteration runs in float32 on a CPU, where bfloat16
    took a third of a training step, and on oneDNN. A matrix that is several in one (queries, keys and values; four
    gates) is orthogonalised in its `parts`. And it is one optimizer with AdamW, so that there is one state to save and
    one for a gradient scaler to step.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # A gradient scaler is to skip the whole step when a gradient is infinite; fused AdamW does it inside.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            if "momentum" in group:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step_orthogonal(parameter, group)
        super().step(closure)

    def _step_orthogonal(self, parameter: nn.Parameter, group: dict) -> None:
        state = self.state[parameter]
        if not state:  # "step" is asked for by AdamW when it loads a state
            state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(parameter))
        state["step"] += 1
        momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
        update = parameter.grad.lerp(momentum, group["momentum"])  # Nesterov
        parameter.grad = None  # AdamW leaves it alone
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        for part, change in zip(parameter.chunk(group["parts"]), update.chunk(group["parts"]), strict=True):
            rows, columns = part.shape
            part.sub_(orthogonalise(change), alpha=group["lr"] * math.sqrt(max(1.0, rows / columns)))


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Roughly the half-orthogonal matrix nearest to this one: singular values from 0.7 to 1.2.

    A Newton-Schulz iteration with the coefficients of Jordan et al. 2024; in bfloat16 on a GPU, which is enough for it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    multiply = product if runs_on_onednn(matrix) else F.linear  # both are x @ y.T
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x.bfloat16() if x.is_cuda else x
    x = (x / (x.norm() + 1e-7)).contiguous()
    for _ in range(iterations):
        gram = multiply(x, x)  # symmetric
        x = a * x + multiply(torch.add(b * gram, multiply(gram, gram), alpha=c), x.T)
    return (x.T if tall else x).to(matrix.dtype)


def schedule(config: TrainConfig, step: int, progress: float) -> float:
    """The share, 0 to 1, of the highest learning rate at a step (from 0) when `progress` of the budget is used up.

    `wsd`: warm-up, stable, linear decay to 0 (Hu et al. 2024). `cosine`: warm-up, half a cosine down to 0 (Loshchilov &
    Hutter 2017). Only the fall depends on the budget, so it is done in time whatever the budget is counted in.
    """
    share = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        return share * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    if config.decay_share > 0:
        share *= min(1.0, max(0.0, (1 - progress) / config.decay_share))
    return share
