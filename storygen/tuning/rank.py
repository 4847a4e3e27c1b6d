"""How a reward model is trained: the loss of Bradley and Terry (1952) on the features of both stories of each pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from storygen.config import option
from storygen.models import LanguageModel
from storygen.tuning.dpo import weighted_loss
from storygen.tuning.preferences import Pair, PairsConfig
from storygen.tuning.reward import RewardModel, features


@dataclass(frozen=True)
class RankConfig(PairsConfig):
    """How a reward model is trained."""

    epochs: float = option(40.0, "Passes over the pairs, at most.", low=0.01)
    learning_rate: float = option(3e-3, "Highest learning rate of AdamW.", low=0.0)
    weight_decay: float = option(1.0, "Decay of the weights, of which there are about as many as pairs.", low=0.0)
    batch_pairs: int = option(32, "Pairs in a batch.", low=1)
    patience: int = option(10, "End after this many epochs without a better validation.", low=1)


class RewardLoss(nn.Module):
    """The weights of a reward, one for each feature, with the loss of a batch of pairs."""

    def __init__(self, scale: Tensor) -> None:
        """`scale` is the spread of each feature (features,), by which they are divided while weights are learned."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros_like(scale))
        self.register_buffer("scale", scale)

    def margins(self, differences: Tensor) -> Tensor:
        """By how much first stories have more reward, (pairs,), from differences of features (pairs, features)."""
        return (differences / self.scale) @ self.weight

    def forward(self, pairs: Sequence[Pair], differences: Tensor) -> Tensor:
        """The mean loss over votes, each by its weight."""
        return weighted_loss(self.margins(differences), pairs, 1.0).mean()

    def reward(self) -> RewardModel:
        """What has been learned."""
        return RewardModel((self.weight / self.scale).detach().clone())


def differences(model: LanguageModel, pairs: Sequence[Pair]) -> Tensor:
    """Features of first stories less those of second ones: (pairs, features)."""
    return features(model, [pair.first for pair in pairs]) - features(model, [pair.second for pair in pairs])


def spread(values: Tensor) -> Tensor:
    """The root mean square of each column, never 0."""
    return values.square().mean(dim=0).sqrt().clamp(min=1e-6)
