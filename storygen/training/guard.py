"""When a step goes wrong: what is told, and what is kept for study."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from storygen.config import write_json
from storygen.data.batches import Windows
from storygen.data.shards import PackedStories
from storygen.errors import StorygenError
from storygen.tokenizers import Tokenizer
from storygen.training.loader import StepPlan

BAD_STEP = "bad-step.json"
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


def save_bad_step(
    out: Path, plan: StepPlan, windows: Windows, stories: PackedStories, tokenizer: Tokenizer, **figures: Any
) -> Path:
    """Writes the text and tokens of a step's batches, so that one can see what upset the model."""
    batches = []
    for batch in plan.batches:
        rows = []
        for window in batch:
            shard, start, length = int(windows.shard[window]), int(windows.start[window]), int(windows.length[window])
            tokens = stories.read(shard, start, length + 1).tolist()
            rows.append({"shard": shard, "start": start, "text": tokenizer.decode(tokens), "tokens": tokens})
        batches.append(rows)
    figures = {name: value if isinstance(value, int) else str(value) for name, value in figures.items()}  # "nan"
    write_json(out / BAD_STEP, {**figures, "batches": batches})
    return out / BAD_STEP


@contextlib.contextmanager
def told_when_out_of_memory(step: int, rows: int, width: int) -> Iterator[None]:
    """Turns an allocation that failed inside the block into a StorygenError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_told = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_told and not any(message in str(error) for message in _MESSAGES):
            raise
        raise StorygenError(
            f"out of memory at step {step}, in a batch of {rows} rows of {width} tokens; lower batch_tokens, and raise "
            "accumulate by as much for steps of the same size, or lower context_length or the size of the model. The "
            "last checkpoint is kept, but another batch_tokens needs a new run, or one with --init-from"
        ) from None
