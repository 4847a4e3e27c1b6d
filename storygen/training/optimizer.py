"""AdamW with decay on matrices only, and a learning rate that rises, stays and falls."""

import torch
from torch import nn

from storygen.training.settings import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) in two groups: matrices, which decay, and vectors, which don't."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The rate of a step (from 0) when this share of the budget, 0 to 1, is used up.

    Warm-up, stable, linear decay to 0 (WSD, Hu et al. 2024). Only the decay depends on the budget, so it is done in
    time whatever the budget is counted in.
    """
    rate = config.learning_rate
    if step < config.warmup_steps:
        rate *= (step + 1) / config.warmup_steps
    if config.decay_share > 0:
        rate *= min(1.0, max(0.0, (1 - progress) / config.decay_share))
    return rate
