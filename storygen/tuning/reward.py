"""A reward model: how much readers would like a story, read off what the frozen language model makes of it.

The features of a story are what the model passes to its output matrix: the mean over the story's own tokens and the
value at the last of them. The reward is one weight for each. It lies beside the model it was made with and is of no use
to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from storygen.errors import StorygenError
from storygen.models import LanguageModel
from storygen.tuning.told import Told

FILE = "reward.safetensors"
WEIGHT, MADE_WITH = "weight", "weights_sha256"
AT_ONCE = 16


@dataclass(frozen=True)
class RewardModel:
    """The weights (features,). Only differences between rewards of stories on one prompt mean anything."""

    weight: Tensor

    def score(self, model: LanguageModel, stories: Sequence[Told]) -> list[float]:
        """The reward of each story."""
        return (features(model, stories) @ self.weight).tolist()


@torch.no_grad()
def features(model: LanguageModel, stories: Sequence[Told]) -> Tensor:
    """What the model makes of each story: (stories, 2 * width of what its output matrix takes), on the CPU."""
    parts = [stories[start : start + AT_ONCE] for start in range(0, len(stories), AT_ONCE)]
    return torch.cat([_features(model, part) for part in parts])


def _features(model: LanguageModel, stories: Sequence[Told]) -> Tensor:
    width = max(len(story.tokens) for story in stories)
    inputs, own = torch.zeros(len(stories), width, dtype=torch.int64), torch.zeros(len(stories), width)
    for row, story in enumerate(stories):
        inputs[row, : len(story.tokens)] = torch.tensor(story.tokens)
        own[row, len(story.tokens) - story.scored : len(story.tokens)] = 1
    seen: list[Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        model(inputs.to(next(model.parameters()).device))
    finally:
        hook.remove()
    hidden = seen[0].float().cpu()  # (stories, width, features)
    mean = (hidden * own[..., None]).sum(dim=1) / own.sum(dim=1, keepdim=True).clamp(min=1)
    last = hidden[torch.arange(len(stories)), [len(story.tokens) - 1 for story in stories]]
    return torch.cat((mean, last), dim=1)


def save_reward(directory: Path, reward: RewardModel, weights_sha256: str) -> None:
    """Writes reward.safetensors, bound to the weights that it was made with."""
    save_file({WEIGHT: reward.weight.float().contiguous()}, directory / FILE, metadata={MADE_WITH: weights_sha256})
    (directory / FILE).chmod(0o644)  # the library lets nobody but the owner read it


def load_reward(directory: Path, model: LanguageModel, weights_sha256: str) -> RewardModel:
    """What `save_reward` wrote; StorygenError if it is damaged or was made with another model."""
    path = directory / FILE
    try:
        with safe_open(path, framework="pt") as file:
            made_with, weight = (file.metadata() or {}).get(MADE_WITH), file.get_tensor(WEIGHT)
    except (SafetensorError, OSError) as error:
        raise StorygenError(f"{path} is not a reward model: {error}") from None
    if made_with != weights_sha256:
        raise StorygenError(f"{path} was made with other weights than the model's; run train.finetune rank again")
    size = 2 * model.head.in_features
    if weight.shape != (size,) or not weight.isfinite().all():
        raise StorygenError(f"{path}: {WEIGHT!r} is {list(weight.shape)}; {size} finite numbers are needed")
    return RewardModel(weight)
