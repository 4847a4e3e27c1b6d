"""Bits per byte: how many bits a model needs for a text, whatever its tokenizer.

Sum of the tokens' negative log-probabilities over the whole corpus, the end tokens included, divided by the UTF-8 bytes
of the texts and by ln 2. Stories longer than the context are cut into windows in which every token is scored once, as
in lm-evaluation-harness (`get_rolling_token_windows` with one token of context: windows follow each other, and only the
last is shifted back to be full); each window starts with an empty state, for the LSTM too. Strided windows and a state
that is carried through the story are options, for which the figures are others.
"""

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from storygen.config import Config, option
from storygen.data.batches import IGNORED
from storygen.errors import StorygenError
from storygen.models import LanguageModel
from storygen.tokenizers import Tokenizer, well_formed

AHEAD = 8
"""How many batches of windows are read ahead, so that those of like length can share a batch."""


@dataclass(frozen=True)
class LikelihoodConfig(Config):
    """How a model reads a story that is longer than its context."""

    stride: int = option(
        0,
        "Tokens scored by each window after the first, the rest of it is context; 0: all, so windows are disjoint.",
        low=0,
    )
    carry_state: bool = option(
        False, "Go through a story with one state (LSTM) or a sliding window (Transformer) instead of windows."
    )

    def check(self) -> None:
        if self.stride and self.carry_state:
            self.refuse("stride", "a carried state needs no windows, so it must be 0")

    def check_fits(self, model: LanguageModel, name: str) -> None:
        """Refuses a model that can't be read so."""
        context = model.config.context_length
        if self.stride > context:
            raise StorygenError(f"stride is {self.stride}, but the context of {name} holds {context} tokens")
        if self.carry_state and model.max_positions is not None:
            raise StorygenError(f"{name} reads at most {model.max_positions} tokens; measure it without carry_state")

    def describe(self) -> str:
        """The windows in words."""
        if self.carry_state:
            return "stories read from start to end in one go, the state carried, a Transformer seeing its context back"
        if self.stride:
            return f"windows of the context length that move by {self.stride} tokens, each from an empty state"
        return "disjoint windows of the context length, each from an empty state"


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Sums over each story of a corpus, in the order in which they were read; the ratios are taken of the totals."""

    story_nats: np.ndarray
    story_tokens: np.ndarray
    story_bytes: np.ndarray
    story_words: np.ndarray

    @property
    def nats(self) -> float:
        """Negative log-probability of all tokens."""
        return float(self.story_nats.sum())

    @property
    def tokens(self) -> int:
        """Tokens scored, the end tokens among them."""
        return int(self.story_tokens.sum())

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the original texts."""
        return int(self.story_bytes.sum())

    @property
    def words(self) -> int:
        """Words of the original texts, as `count_words` has them."""
        return int(self.story_words.sum())

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers, if they are lossless: a lossy one codes less than the bytes counted here."""
        return self.nats / self.bytes / math.log(2)

    @property
    def byte_perplexity(self) -> float:
        """2 to the power of the bits per byte."""
        return math.exp(self.nats / self.bytes)

    @property
    def word_perplexity(self) -> float:
        """Comparable as bits per byte are, on the same text."""
        return math.exp(self.nats / self.words)

    @property
    def token_perplexity(self) -> float:
        """Comparable only between models with the same tokenizer."""
        return math.exp(self.nats / self.tokens)


class Coded(NamedTuple):
    """A story as it is measured."""

    tokens: Sequence[int]
    """As `Tokenizer.framed` gives them: the first is given, the others are scored."""
    bytes: int
    """Of its text in UTF-8."""
    words: int = 1


@dataclass(frozen=True)
class Window:
    """A slice `tokens[start:stop]` to feed; its last `scored` predictions count."""

    start: int
    stop: int
    scored: int


def rolling_windows(count: int, context_length: int, stride: int = 0) -> Iterator[Window]:
    """Windows that predict tokens 1 to count - 1, each once, from at most `context_length` inputs.

    The first window scores all that it predicts, the others the last `stride` tokens, or all but for what the one
    before has scored if it is 0: then each begins with the last token of the one before, and the last is shifted back
    until it is full.
    """
    first, scored = 0, context_length
    while first < count - 1:
        stop = min(first + scored + 1, count)
        yield Window(max(0, stop - context_length - 1), stop, stop - first - 1)
        first, scored = stop - 1, stride or context_length


class Piece(NamedTuple):
    """What a model reads in one go: its last `scored` tokens are targets."""

    tokens: Sequence[int]
    scored: int
    story: int = 0
    """Number of the story that it is from."""


def in_batches(pieces: Iterable[Piece], context_length: int, batch_tokens: int) -> Iterator[list[Piece]]:
    """Pieces of like length together, longest first, padded to at most `batch_tokens` at a time.

    A little is read ahead, so memory does not grow with the number of pieces.
    """
    for held in _read_ahead(pieces, AHEAD * batch_tokens):
        held.sort(key=lambda piece: len(piece.tokens), reverse=True)
        first = 0
        while first < len(held):
            width = min(len(held[first].tokens), context_length)
            rows = max(1, batch_tokens // width)
            yield held[first : first + rows]
            first += rows


def _read_ahead(pieces: Iterable[Piece], tokens: int) -> Iterator[list[Piece]]:
    held, size = [], 0
    for piece in pieces:
        held.append(piece)
        size += len(piece.tokens)
        if size >= tokens:
            yield held
            held, size = [], 0
    if held:
        yield held


def batches_to_score(
    stories: Iterable[Sequence[int]], context_length: int, batch_tokens: int = 8192
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (rows, width) in which every token of the stories but their first is a target once.

    Memory holds a few batches, however many stories there are.
    """
    pieces = (
        Piece(tokens[window.start : window.stop], window.scored)
        for tokens in stories
        for window in rolling_windows(len(tokens), context_length)
    )
    for batch in in_batches(pieces, context_length, batch_tokens):
        yield rows_to_score([(piece.tokens, piece.scored) for piece in batch])


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


def token_nats(model: LanguageModel, pieces: Sequence[tuple[Sequence[int], int]]) -> Tensor:
    """Negative log-probability of each token that is scored, 0 elsewhere: (pieces, width), all read as one batch."""
    inputs, targets = (part.to(next(model.parameters()).device) for part in rows_to_score(pieces))
    logits, _ = model(inputs)  # (pieces, width, vocabulary)
    return _target_nats(logits, targets)


def _target_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-probability of each target (rows, width), 0 where it is IGNORED.

    On a CPU row by row, as the probabilities of one fit the cache: 5 microseconds a token of a vocabulary of 4,096,
    where all at once take 13 (two threads, rows of 512).
    """
    size = 1 if logits.device.type == "cpu" else len(logits)
    parts = zip(logits.split(size), targets.split(size), strict=True)  # (size, width, vocabulary), (size, width)
    nats = [F.cross_entropy(some.float().flatten(0, 1), each.flatten(), reduction="none") for some, each in parts]
    return torch.cat(nats).view(targets.shape)


@torch.inference_mode()
def likelihood(
    model: LanguageModel,
    stories: Iterable[tuple[Sequence[int], int] | Coded],
    config: LikelihoodConfig | None = None,
    batch_tokens: int = 8192,
) -> Likelihood:
    """The likelihood of stories, given the first token of each; a story is what `Coded` has."""
    config = config or LikelihoodConfig()
    context = model.config.context_length
    nats, tokens, sizes, words = array("d"), array("q"), array("q"), array("q")

    def pieces() -> Iterator[Piece]:
        for number, story in enumerate(Coded(*each) for each in stories):
            nats.append(0.0)
            tokens.append(len(story.tokens) - 1)
            sizes.append(story.bytes)
            words.append(story.words)
            reach = len(story.tokens) if config.carry_state else context  # a carried state needs no windows
            for window in rolling_windows(len(story.tokens), reach, config.stride):
                yield Piece(story.tokens[window.start : window.stop], window.scored, number)

    was_training = model.training
    model.eval()
    try:
        for batch in in_batches(pieces(), context, batch_tokens):
            inputs, targets = rows_to_score([(piece.tokens, piece.scored) for piece in batch])
            for piece, value in zip(batch, _row_nats(model, inputs, targets), strict=True):
                nats[piece.story] += value
    finally:
        model.train(was_training)
    if not sum(sizes):
        raise StorygenError("there is no text to measure; give at least one story that is not empty")
    return Likelihood(*(np.array(column) for column in (nats, tokens, sizes, words)))


def _row_nats(model: LanguageModel, inputs: Tensor, targets: Tensor) -> list[float]:
    """Negative log-probability of the targets of each row (rows, width), longest first; what exceeds the context is
    read in parts, with the state of those before.
    """
    device, context = next(model.parameters()).device, model.config.context_length
    nats = torch.zeros(len(inputs), dtype=torch.float64)
    lengths = (targets != IGNORED).int() * torch.arange(1, targets.shape[1] + 1)
    ends, state, rows = lengths.amax(dim=1), None, len(inputs)
    for first in range(0, inputs.shape[1], context):
        going = int((ends > first).sum())
        if going < rows:
            state, rows = state.select(range(going)), going
        part = slice(first, first + context)
        logits, state = model(inputs[:rows, part].to(device), state)
        each = _target_nats(logits, targets[:rows, part].to(device))
        nats[:rows] += each.double().sum(dim=1).cpu()
    return nats.tolist()


def text_likelihood(
    model: LanguageModel, tokenizer: Tokenizer, texts: Iterable[str], config: LikelihoodConfig | None = None
) -> Likelihood:
    """The likelihood of texts: each is a story without a prompt, with its end token."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise StorygenError(f"give a list of texts, not a {type(texts).__name__}")
    known = 0

    def stories() -> Iterator[Coded]:
        nonlocal known
        for text in texts:
            if not isinstance(text, str):
                raise StorygenError(f"a text must be a string, not {type(text).__name__}")
            tokens = tokenizer.encode(text)
            known += len(tokens)
            yield Coded(tokenizer.framed(tokens), len(well_formed(text).encode()), count_words(text))

    measured = likelihood(model, stories(), config)
    if not known:
        raise StorygenError("there is nothing to measure: the tokenizer knows no character of the text")
    return measured


def count_words(text: str) -> int:
    """Words between white space, as lm-evaluation-harness counts them: white space at an end gives an empty one."""
    return len(re.split(r"\s+", text))
