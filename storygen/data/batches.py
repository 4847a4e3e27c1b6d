"""Batches for training: windows that never cross a story, grouped by length so that little is padding.

A window of n + 1 tokens gives n predictions. A story longer than the context is cut into windows of nearly equal length
which overlap by one token, so each token is predicted exactly once an epoch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storygen.data.pack import PackedStories

IGNORED = -100
"""The target of a padding position; cross-entropy skips it."""
WIDTH_STEP = 128
"""Widths are rounded up to a multiple of this: few shapes to compile, little padding."""
POOL = 64
"""How many batches' worth of shuffled windows are sorted by length together."""


@dataclass(frozen=True)
class Windows:
    """Where every window of a split begins and how many predictions it holds."""

    story: np.ndarray
    first: np.ndarray
    length: np.ndarray
    context_length: int
    """No window is longer, and none is padded beyond it."""

    def width(self, window: int) -> int:
        """The width of a batch in which this window is the longest."""
        return min(-(-int(self.length[window]) // WIDTH_STEP) * WIDTH_STEP, self.context_length)

    def __len__(self) -> int:
        return len(self.story)


def cut_windows(story_lengths: np.ndarray, context_length: int) -> Windows:
    """The windows of stories with these token counts, at most `context_length` predictions each."""
    predictions = story_lengths - 1
    pieces = -(-predictions // context_length)
    story = np.repeat(np.arange(len(story_lengths)), pieces)
    piece = np.arange(len(story)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = predictions[story] * piece // pieces[story]
    last = predictions[story] * (piece + 1) // pieces[story]
    return Windows(story, first, last - first, context_length)


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
        tokens = stories.tokens(int(windows.story[window]), int(windows.first[window]), length + 1)
        tokens = torch.from_numpy(tokens)
        inputs[row, :length] = tokens[:-1]
        targets[row, :length] = tokens[1:]
    return inputs, targets
