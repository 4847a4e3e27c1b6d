"""Bits per byte: how many bits a model needs for a text, whatever its tokenizer.

Sum of the tokens' negative log-probabilities over the whole corpus, the end tokens included, divided by the UTF-8 bytes
of the texts and by ln 2. Stories longer than the context are cut into windows in which every token is scored once, as
in lm-evaluation-harness (`get_rolling_token_windows` with one token of context: windows follow each other, and only the
last is shifted back to be full); each window starts with an empty state, for the LSTM too.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from storygen.data.batches import IGNORED
from storygen.errors import StorygenError
from storygen.models import LanguageModel
from storygen.tokenizers import Tokenizer, well_formed


@dataclass(frozen=True)
class Likelihood:
    """Sums over a corpus; the ratios are taken of the sums."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers, if they are lossless: a lossy one codes less than the bytes counted here."""
        return self.nats / self.bytes / math.log(2)

    @property
    def token_perplexity(self) -> float:
        """Comparable only between models with the same tokenizer."""
        return math.exp(self.nats / self.tokens)


@dataclass(frozen=True)
class Window:
    """A slice `tokens[start:stop]` to feed; its last `scored` predictions count."""

    start: int
    stop: int
    scored: int


def rolling_windows(count: int, context_length: int) -> Iterator[Window]:
    """Windows that predict tokens 1 to count - 1, each once, from at most `context_length` inputs.

    Each window begins with the last token of the one before; the last one is shifted back until it is full.
    """
    for first in range(0, count - 1, context_length):
        stop = min(first + context_length + 1, count)
        yield Window(max(0, stop - context_length - 1), stop, stop - first - 1)


def batches_to_score(
    stories: Iterable[Sequence[int]], context_length: int, batch_tokens: int = 8192
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (rows, width) in which every token of the stories but their first is a target once.

    Memory holds one batch, however many stories there are.
    """
    pieces = (
        (tokens[window.start : window.stop], window.scored)
        for tokens in stories
        for window in rolling_windows(len(tokens), context_length)
    )
    while batch := list(itertools.islice(pieces, max(1, batch_tokens // context_length))):
        yield rows_to_score(batch)


def rows_to_score(pieces: Sequence[tuple[Sequence[int], int]]) -> tuple[Tensor, Tensor]:
    """Inputs and targets (rows, width) of (tokens, scored) pieces: the last `scored` tokens of each are targets."""
    width = max(len(tokens) for tokens, _ in pieces) - 1
    inputs = torch.zeros(len(pieces), width, dtype=torch.int64)
    targets = torch.full((len(pieces), width), IGNORED)
    for row, (tokens, scored) in enumerate(pieces):
        tokens = torch.as_tensor(tokens)
        last = len(tokens) - 1
        inputs[row, :last] = tokens[:-1]
        targets[row, last - scored : last] = tokens[-scored:]
    return inputs, targets


@torch.inference_mode()
def likelihood(
    model: LanguageModel, stories: Iterable[tuple[Sequence[int], int]], batch_tokens: int = 8192
) -> Likelihood:
    """The likelihood of stories, given the first token of each.

    A story is its tokens, as `Tokenizer.framed` gives them, and the UTF-8 bytes of its text.
    """
    device = next(model.parameters()).device
    nats, count, size = 0.0, 0, 0

    def read() -> Iterator[Sequence[int]]:
        nonlocal size
        for tokens, text_bytes in stories:
            size += text_bytes
            yield tokens

    was_training = model.training
    model.eval()
    try:
        for inputs, targets in batches_to_score(read(), model.config.context_length, batch_tokens):
            logits, _ = model(inputs.to(device))
            each = F.cross_entropy(logits.float().flatten(0, 1), targets.to(device).flatten(), reduction="none")
            nats += each.cpu().double().sum().item()
            count += int((targets != IGNORED).sum())
    finally:
        model.train(was_training)
    if not size:
        raise StorygenError("there is no text to measure; give at least one story that is not empty")
    return Likelihood(nats, count, int(size))


def text_likelihood(model: LanguageModel, tokenizer: Tokenizer, texts: Iterable[str]) -> Likelihood:
    """The likelihood of texts: each is a story without a prompt, with its end token."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise StorygenError(f"give a list of texts, not a {type(texts).__name__}")

    def stories() -> Iterator[tuple[list[int], int]]:
        for text in texts:
            if not isinstance(text, str):
                raise StorygenError(f"a text must be a string, not {type(text).__name__}")
            yield tokenizer.framed(tokenizer.encode(text)), len(well_formed(text).encode())

    return likelihood(model, stories())
