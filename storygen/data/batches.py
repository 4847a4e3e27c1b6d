"""Batches for training: windows over the token shards, grouped by length so that little is padding.

A window of n + 1 tokens gives n predictions. How windows lie is told by the corpus:

story    no window crosses a story; one that is longer than the context is cut into windows of nearly equal length
packed   windows follow each other through a shard, across the ends of stories: there is no padding at all
sliding  as packed, but a window begins every `stride` tokens, so that each token is predicted several times

In the first two a window begins with the last token of the one before, so each token is predicted exactly once.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storygen.data.shards import PackedStories

IGNORED = -100
"""The target of a padding position; cross-entropy skips it."""
WIDTH_STEP = 128
"""Widths are rounded up to a multiple of this: few shapes to compile, little padding."""
POOL = 64
"""How many batches' worth of shuffled windows are sorted by length together."""


@dataclass(frozen=True)
class Windows:
    """Where every window of a split begins, in its shard, and how many predictions it holds."""

    shard: np.ndarray
    start: np.ndarray
    length: np.ndarray
    context_length: int
    """No window is longer, and none is padded beyond it."""

    def width(self, window: int) -> int:
        """The width of a batch in which this window is the longest."""
        return min(-(-int(self.length[window]) // WIDTH_STEP) * WIDTH_STEP, self.context_length)

    def __len__(self) -> int:
        return len(self.start)


def cut_windows(stories: PackedStories, context_length: int) -> Windows:
    """The windows of a split as its corpus wants them, at most `context_length` predictions each."""
    kind = stories.chunking["kind"]
    if kind == "story":
        return _windows_in_stories(stories, context_length)
    stride = context_length if kind == "packed" else min(stories.chunking["stride"], context_length)
    predictions = stories.shard_tokens - 1
    # The last window of a shard may be short, but when windows overlap it would only repeat.
    counts = -(-np.maximum(predictions - (context_length - stride), 1) // stride)
    shard = np.repeat(np.arange(len(counts)), counts)
    start = (np.arange(len(shard)) - np.repeat(np.cumsum(counts) - counts, counts)) * stride
    return Windows(shard, start, np.minimum(context_length, predictions[shard] - start), context_length)


def _windows_in_stories(stories: PackedStories, context_length: int) -> Windows:
    predictions = stories.length - 1
    pieces = -(-predictions // context_length)
    story = np.repeat(np.arange(len(predictions)), pieces)
    piece = np.arange(len(story)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = predictions[story] * piece // pieces[story]
    last = predictions[story] * (piece + 1) // pieces[story]
    return Windows(stories.shard[story], stories.start[story] + first, last - first, context_length)


def epoch_batches(windows: Windows, batch_tokens: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The windows of each batch of one epoch, in order: a function of its arguments alone, so a run can be resumed.

    Rows times the padded width is at most `batch_tokens` (at least one row).
    """
    draw = np.random.default_rng((seed, epoch))
    order = draw.permutation(len(windows))
    typical = max(1, batch_tokens // windows.width(windows.length.argmax()))
    batches: list[np.ndarray] = []
    left = order[:0]
    for start in range(0, len(order), POOL * typical):
        pool = np.concatenate((left, order[start : start + POOL * typical]))
        pool = pool[np.argsort(-windows.length[pool], kind="stable")]
        full, left = _cut_full(pool, windows, batch_tokens)  # what is left over goes into the next pool, so
        batches += [full[i] for i in draw.permutation(len(full))]  # that there are few shapes: torch.compile likes it
    return batches + ([left] if len(left) else [])


def _cut_full(pool: np.ndarray, windows: Windows, batch_tokens: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Full batches from a pool that is sorted by falling length, and the windows that don't fill another one."""
    full: list[np.ndarray] = []
    while len(pool):
        rows = max(1, batch_tokens // windows.width(pool[0]))
        if len(pool) < rows:
            break
        full.append(pool[:rows])
        pool = pool[rows:]
    return full, pool


def collate(stories: PackedStories, windows: Windows, batch: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs and targets (rows, width), int64; padding stands behind the tokens, so causal models never see it."""
    width = windows.width(batch[windows.length[batch].argmax()])
    inputs = torch.zeros(len(batch), width, dtype=torch.int64)
    targets = torch.full((len(batch), width), IGNORED)
    for row, window in enumerate(batch):
        length = int(windows.length[window])
        tokens = stories.read(int(windows.shard[window]), int(windows.start[window]), length + 1)
        tokens = torch.from_numpy(tokens)
        inputs[row, :length] = tokens[:-1]
        targets[row, :length] = tokens[1:]
    return inputs, targets
