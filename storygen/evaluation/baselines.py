"""What a text costs without a network: compressors that have seen the training text, and n-gram counts of it.

Beside the bits per byte of a model these tell what it adds: `xz` and `zstd` at their highest levels, given the training
text before the text, and Kneser-Ney smoothed n-grams over the tokens of a model.
"""

import itertools
import lzma
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from storygen.errors import StorygenError
from storygen.evaluation.ngrams import KneserNey
from storygen.tokenizers import Tokenizer, well_formed

BETWEEN = b"\n\n"
"""Stands after each story for a compressor, as the end token does for a model."""


def as_bytes(texts: Iterable[str]) -> bytes:
    """The texts as a compressor reads them."""
    return b"".join(well_formed(text).encode() + BETWEEN for text in texts)


def xz(training: bytes, texts: Iterable[bytes]) -> Iterator[int]:
    """Bits that each text adds to the training text compressed by `xz -9e`, whose dictionary reaches back over both.

    LZMA takes no dictionary from elsewhere: the training text is compressed again with each text, 80 MB in minutes.
    """

    def compressed(data: bytes) -> int:
        size = min(max(len(data), 4096), 1_536 << 20)
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}]
        return len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters))

    alone = compressed(training)
    for text in texts:
        yield 8 * (compressed(training + text) - alone)


def zstd(training: bytes, texts: Iterable[bytes]) -> Iterator[int]:
    """Bits of each text by `zstd --ultra -22` with the training text as its dictionary (2 GB of it at most)."""
    import zstandard  # training and evaluation have it, the app does not

    window = min(31, max(24, (2 * len(training)).bit_length()))
    settings = zstandard.ZstdCompressionParameters.from_level(22, window_log=window)
    dictionary = zstandard.ZstdCompressionDict(training, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    dictionary.precompute_compress(compression_params=settings)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    for text in texts:
        yield 8 * len(compressor.compress(text))


COMPRESSORS: dict[str, Callable[[bytes, Iterable[bytes]], Iterator[int]]] = {"xz": xz, "zstd": zstd}


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
    for baseline, compress in COMPRESSORS.items():
        for name, bits in zip(texts, compress(before, map(as_bytes, texts.values())), strict=True):
            yield baseline, name, bits / size[name]
    model = count_ngrams(tokenizer, training)
    for name, stories in texts.items():
        yield f"{model.order}-grams", name, ngram_bits(model, tokenizer, stories) / size[name]
