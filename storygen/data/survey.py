"""What has to be known of a whole corpus before it is packed: a sample of its texts, and which stories are held out."""

import hashlib
import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from storygen.data.clean_corpus import read_clean
from storygen.data.story import Story
from storygen.tokenizers import well_formed

FEW_SOURCES = 20
"""With fewer sources than this, one of them could be most of the text: single stories are split instead."""


class Sample:
    """At most `limit` characters of texts, whatever the corpus: those with the smallest hashes, so a uniform sample."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        """Offers one text to the sample."""
        heapq.heappush(self._heap, (-text_hash(text), text))
        self._size += len(text)
        while self._size > self._limit and len(self._heap) > 1:
            self._size -= len(heapq.heappop(self._heap)[1])

    @property
    def texts(self) -> list[str]:
        """The sampled texts, in an order that does not depend on that of the corpus."""
        return [text for _, text in sorted(self._heap)]


@dataclass(frozen=True)
class Split:
    """Which stories are held out, as far as no validation files say it."""

    by_source: bool
    below: int
    """Those whose hash is less."""

    def of(self, story: Story) -> str:
        """The split of a training story."""
        return "valid" if text_hash(story.source if self.by_source else story.text) < self.below else "train"


def survey(shards: Iterable[Path], sample_size: int, valid_fraction: float) -> tuple[list[str], Split, int]:
    """A sample of the training texts, how they are to be split, and how often the most weighted story is packed."""
    sample, sources, first_source, turns, has_valid = Sample(sample_size), set[str](), 2**64, 1, False
    for clean in itertools.chain.from_iterable(map(read_clean, shards)):
        if clean.split == "valid":
            has_valid = True
            continue
        sample.add(clean.story.text)
        turns = max(turns, clean.times)
        first_source = min(first_source, text_hash(clean.story.source))
        if len(sources) < FEW_SOURCES:
            sources.add(clean.story.source)
    by_source = len(sources) >= FEW_SOURCES
    below = 0 if has_valid else int(valid_fraction * 2**64)
    if below and by_source:
        below = max(below, first_source + 1)  # at least one source
    return sample.texts, Split(by_source, below), turns


def text_hash(text: str) -> int:
    """A number below 2 ** 64, as good as drawn, that is the same for the same text."""
    return int.from_bytes(hashlib.blake2b(well_formed(text).encode(), digest_size=8).digest(), "big")
