"""The data of one optimizer step after another, read from the memory-mapped shards, ahead of time on a GPU."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from storygen.data.batches import Windows, collate, epoch_batches
from storygen.data.shards import PackedStories


class StepPlan(NamedTuple):
    """Which windows one step reads, in all processes together, and where the step after it begins."""

    batches: list[np.ndarray]
    epoch: int
    batch: int


class StepData(NamedTuple):
    """One step's plan and this process's share of it: inputs and targets (rows, width) of each of its batches."""

    plan: StepPlan
    share: list[tuple[Tensor, Tensor]]


def plan_steps(
    windows: Windows, batch_tokens: int, seed: int, batches_per_step: int, epoch: int, batch: int
) -> Iterator[StepPlan]:
    """The plans from a position on, without end: a function of its arguments alone, so a run can be resumed."""
    order = epoch_batches(windows, batch_tokens, seed, epoch)
    while True:
        batches = []
        for _ in range(batches_per_step):
            batches.append(order[batch])
            batch += 1
            if batch == len(order):
                epoch, batch = epoch + 1, 0
                order = epoch_batches(windows, batch_tokens, seed, epoch)
        yield StepPlan(batches, epoch, batch)


class _Steps(Dataset):
    """Turns a plan into this process's share of the data."""

    def __init__(self, stories: PackedStories, windows: Windows, rank: int, world: int) -> None:
        self._stories, self._windows, self._rank, self._world = stories, windows, rank, world

    def __getitem__(self, plan: StepPlan) -> StepData:
        share = plan.batches[self._rank :: self._world]
        return StepData(plan, [collate(self._stories, self._windows, batch) for batch in share])


def load_steps(
    stories: PackedStories, windows: Windows, plans: Iterator[StepPlan], rank: int, world: int, *, workers: int = 0
) -> Iterator[StepData]:
    """The data of the planned steps. With `workers`, other processes read ahead into pinned memory, for a GPU.

    On a CPU reading takes less than a thousandth of a step (measured), and other processes would take its cores.
    """
    steps = _Steps(stories, windows, rank, world)
    return iter(
        DataLoader(
            steps, batch_size=None, sampler=plans, num_workers=workers, pin_memory=workers > 0,
            collate_fn=_as_it_is,
        )
    )  # fmt: skip


def _as_it_is(step: StepData) -> StepData:
    return step
