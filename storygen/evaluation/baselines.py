"""What a text costs without a network: compressors that have seen the training text, and n-gram counts of it.

Beside the bits per byte of a model these tell what it adds: `xz` and `zstd` at their highest levels, given the training
text before the text, and Kneser-Ney smoothed n-grams over the tokens of a model.
"""

import itertools
import lzma
import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from storygen.errors import StorygenError
from storygen.evaluation.ngrams import KneserNey
from storygen.tokenizers import Tokenizer, well_formed

BETWEEN = b"\n\n"
"""Stands after each story for a compressor, as the end token does for a model."""


def as_bytes(texts: Iterable[str]) -> bytes:
    """The texts as a compressor reads them."""
    return b"".join(well_formed(text).encode() + BETWEEN for text in texts)


class Compressor(Protocol):
    """What takes bytes little by little, and at some time gives out what is left of them."""

    def compress(self, data: bytes) -> bytes:
        """What can be given out by now."""

    def flush(self) -> bytes:
        """The rest."""


def xz(size: int) -> Compressor:
    """LZMA2 at its highest level (`xz -9e`), which looks back over all of `size` bytes."""
    reach = min(max(size, 4096), 1_536 << 20)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": reach}]
    return lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)


def zstd(size: int) -> Compressor:
    """`zstd --ultra -22`, which looks back over all of `size` bytes, or 2 GB."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(22, window_log=min(31, max(20, size.bit_length())))
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


COMPRESSORS: dict[str, Callable[[int], Compressor]] = {"xz": xz, "zstd": zstd}


def extra_bits(make: Callable[[int], Compressor], training: bytes, texts: Sequence[bytes]) -> Iterator[int]:
    """Bits that each text adds to the compressed training text when it follows it.

    The training text is compressed once, which takes minutes for 80 MB. As no compressor can be copied, the process is:
    it forks, and each child goes on with one text.
    """
    compressor = make(len(training) + max(map(len, texts)))
    compressor.compress(training)
    alone = _left(compressor, b"")
    for text in texts:
        yield 8 * (_left(compressor, text) - alone)


def _left(compressor: Compressor, text: bytes) -> int:
    """How many bytes come out yet if this text follows and nothing more; the compressor stays as it is."""
    if "fork" not in multiprocessing.get_all_start_methods():
        raise StorygenError("compressors as a baseline need an operating system that can fork: Linux or macOS")
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sender.send(len(compressor.compress(text)) + len(compressor.flush())))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise StorygenError("a compressor was ended before it was done: is there too little memory?") from None
    finally:
        child.join()


def count_ngrams(tokenizer: Tokenizer, texts: Iterable[str]) -> KneserNey:
    """The n-gram model of the training text."""

    def stories() -> Iterator[list[int]]:
        left = iter(texts)
        while batch := list(itertools.islice(left, 1000)):
            yield from map(tokenizer.framed, tokenizer.encode_batch(batch))

    return KneserNey(stories(), tokenizer.vocab_size)


def ngram_bits(model: KneserNey, tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Bits of all tokens and end tokens of the texts, as a network's are counted."""
    stories = (tokenizer.framed(tokenizer.encode(text)) for text in texts)
    return sum(float(model.nats(story).sum()) for story in stories) / math.log(2)


def measure_baselines(
    training: Sequence[str], texts: Mapping[str, Iterable[str]], tokenizer: Tokenizer
) -> Iterator[tuple[str, str, float]]:
    """Bits per byte of each baseline on each text: (baseline, text, figure), as they are found.

    Each of the texts is gone through several times.
    """
    if not training:
        raise StorygenError("there is no training text for the baselines; name story files with --train")
    before = as_bytes(training)
    size = {name: sum(len(well_formed(text).encode()) for text in stories) for name, stories in texts.items()}
    for baseline, make in COMPRESSORS.items():
        for name, bits in zip(
            texts, extra_bits(make, before, [as_bytes(each) for each in texts.values()]), strict=True
        ):
            yield baseline, name, bits / size[name]
    model = count_ngrams(tokenizer, training)
    for name, stories in texts.items():
        yield f"{model.order}-grams", name, ngram_bits(model, tokenizer, stories) / size[name]
