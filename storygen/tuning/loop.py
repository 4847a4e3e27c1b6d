"""A small training loop on `accelerate`, for what is learned in minutes: looks at held-out data and keeps the best."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import parse_flag_from_env
from torch import nn
from tqdm import tqdm

from storygen.errors import StorygenError
from storygen.training.hardware import keep_freed_memory
from storygen.training.interrupt import Interrupt
from storygen.training.log import RunLog

WARMUP = 0.1
"""Share of the steps in which the learning rate rises; after them it falls in a line to 0."""
CLIP = 1.0


@dataclass(frozen=True)
class Look:
    """What held-out data says of the model as it is now."""

    value: float
    """Lower is better."""
    figures: dict[str, float]
    passed: str = ""
    """The limit that the model has passed, in words; such a model is not kept, and training ends."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    epochs: float
    learning_rate: float
    looks: int
    """In an epoch."""
    patience: int
    """Looks without a better one after which training ends."""
    seed: int
    weight_decay: float = 0.0


@dataclass
class Outcome:
    """How a training went."""

    looks: list[dict[str, Any]] = field(default_factory=list)
    """The figures of each look, with its step."""
    best: int = 0
    """The look whose model was kept,"""
    value: float = math.inf
    """and its value."""
    ended: str = "after its epochs"


def one_process() -> Accelerator:
    """The `Accelerator` of a process that trains alone."""
    accelerator = Accelerator(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    if accelerator.num_processes > 1:
        raise StorygenError("this is learned by one process in minutes; start it without a launcher")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator


def fit(
    loss: nn.Module,
    batches: Callable[[torch.Generator], Sequence[tuple[Any, ...]]],
    look: Callable[[], Look],
    plan: Plan,
    accelerator: Accelerator,
    out: Path,
) -> Outcome:
    """Trains the parameters of `loss` that want a gradient, and leaves in it those of the best look.

    `loss(*batch)` is a scalar; `batches` draws an epoch's. The first look is before any step, so nothing worse than the
    start is ever kept. Writes log.jsonl into `out`. Ctrl-C ends it, and the best so far is kept.
    """
    log, outcome, interrupt = RunLog(out), Outcome(), Interrupt()
    draw = torch.Generator().manual_seed(plan.seed)
    trained = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, betas=(0.9, 0.95), weight_decay=plan.weight_decay)
    loss, optimizer = accelerator.prepare(loss, optimizer)
    epoch = list(batches(draw))
    steps = max(1, round(plan.epochs * len(epoch)))
    between = max(1, len(epoch) // plan.looks)
    kept: dict[str, Any] = {}

    def judge(step: int) -> str:
        """Looks; why training is to end now, if it is."""
        loss.eval()
        found = look()
        loss.train()
        outcome.looks.append({"step": step, **found.figures})
        log.write(**outcome.looks[-1])
        if found.passed:
            return found.passed
        if found.value < outcome.value:
            outcome.value, outcome.best = found.value, len(outcome.looks) - 1
            kept.update(copy.deepcopy(accelerator.unwrap_model(loss).state_dict()))
        elif len(outcome.looks) - 1 - outcome.best >= plan.patience:
            return f"{plan.patience} validations without a better one"
        return ""

    with interrupt.watching(), tqdm(total=steps, unit="step", mininterval=1.0, disable=None) as bar:
        judge(0)
        for step in range(1, steps + 1):
            if not epoch:
                epoch = list(batches(draw))
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * _share(step, steps)
            value = loss(*epoch.pop())
            if not value.isfinite():
                raise StorygenError(f"the loss is {value.item()} at step {step}; try a lower learning rate")
            accelerator.backward(value)
            accelerator.clip_grad_norm_(trained, CLIP)
            optimizer.step()
            optimizer.zero_grad()
            bar.update()
            bar.set_postfix(loss=f"{value.item():.3f}", refresh=False)
            reason = "stopped by a signal" if interrupt.asked else ""
            if not reason and (step % between == 0 or step == steps):
                reason = judge(step)
            if reason:
                outcome.ended = reason
                break
    accelerator.unwrap_model(loss).load_state_dict(kept)
    return outcome


def _share(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step, from 1."""
    warm = max(1, round(WARMUP * steps))
    return min(step / warm, (steps + 1 - step) / max(1, steps + 1 - warm))
