"""The loss, and its measure on the validation split."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from storygen.data.batches import IGNORED
from storygen.data.shards import PackedStories
from storygen.evaluation.likelihood import batches_to_score
from storygen.models import LanguageModel
from storygen.training.guard import told_when_out_of_memory
from storygen.training.machine import Machine
from storygen.training.settings import TrainConfig


class NextTokenLoss(nn.Module):
    """The model with its loss, so that `torch.compile` and data parallelism see one module with a scalar result."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-probability of the targets, summed, in nats."""
        logits, _ = self.model(inputs)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


class Validation:
    """Bits per byte on a share of a split that is spread over it, divided among the processes."""

    def __init__(
        self,
        stories: PackedStories,
        model: LanguageModel,
        config: TrainConfig,
        accelerator: Accelerator,
        machine: Machine,
    ) -> None:
        self._stories, self._accelerator, self._machine = stories, accelerator, machine
        self._context_length, self._batch_tokens = model.config.context_length, config.batch_tokens
        stride = max(1, int(stories.length.sum()) // config.valid_tokens)
        self._chosen = range(0, len(stories), stride)

    def __len__(self) -> int:
        return len(self._chosen)

    def measure(self, loss: nn.Module, model: LanguageModel, give_up: Callable[[], bool], step: int) -> float | None:
        """The bits per byte, in the precision of the training, or None if a process gave up.

        `loss` is the module that is trained, with the model inside.
        """
        mine = self._chosen[self._accelerator.process_index :: self._accelerator.num_processes]
        tokens = (self._stories.tokens(story) for story in mine)
        batches = batches_to_score(tokens, self._context_length, self._batch_tokens)
        if self._machine.sharded:
            batches, give_up = self._as_many_everywhere(batches), lambda: False
        else:
            loss = NextTokenLoss(model)  # neither compiled for these shapes nor made to wait for other processes
        nats, was_given_up = 0.0, False
        model.eval()
        try:
            for inputs, targets in batches:
                if was_given_up := give_up():
                    break
                with torch.no_grad(), self._accelerator.autocast(), told_when_out_of_memory(step, *inputs.shape):
                    nats += loss(*(part.to(self._accelerator.device) for part in (inputs, targets))).item()
        finally:
            model.train()
        text_bytes = sum(int(self._stories.text_bytes[story]) for story in mine)
        nats, text_bytes, gave_up = sum_over_processes(self._accelerator, nats, text_bytes, float(was_given_up))
        return None if gave_up else nats / text_bytes / math.log(2)

    def _as_many_everywhere(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """A sharded model runs in all processes at once, so each needs as many batches, if of nothing."""
        held = list(batches)
        counts = self._accelerator.gather(torch.tensor([len(held)], device=self._accelerator.device))
        empty = torch.zeros(1, 1, dtype=torch.int64), torch.full((1, 1), IGNORED)
        return iter([*held, *[empty] * (int(counts.max()) - len(held))])


def sum_over_processes(accelerator: Accelerator, *values: float) -> list[float]:
    """Each value summed over all processes."""
    if accelerator.num_processes == 1:
        return list(values)
    told = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return accelerator.reduce(told, "sum").tolist()
