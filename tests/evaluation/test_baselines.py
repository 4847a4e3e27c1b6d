import math
import random

import pytest

from storygen.errors import StorygenError
from storygen.evaluation.baselines import (
    COMPRESSORS,
    as_bytes,
    count_ngrams,
    extra_bits,
    measure_baselines,
    ngram_bits,
    xz,
)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_what_the_training_text_has_costs_almost_nothing(name):
    """The training text must be in reach of the compressor: else the baseline is weak and models look good."""
    draw = random.Random(0)
    training, new = draw.randbytes(300_000), draw.randbytes(20_000)
    known = training[:20_000]
    bits = list(extra_bits(COMPRESSORS[name], training, [known, new]))
    assert bits[0] < 0.05 * 8 * len(known)  # LZMA copies at most 273 bytes at a time
    assert bits[1] > 0.98 * 8 * len(new)


def test_a_text_costs_what_compressing_both_together_costs():
    """The children must go on from the same state, and leave it as it is for the next."""
    training, texts = as_bytes(["Once upon a time there was a fox. " * 50]), [b"Once upon a bear.", b"", b"A fox!"]

    def whole(data):
        compressor = xz(10_000)
        return len(compressor.compress(data)) + len(compressor.flush())

    expected = [8 * (whole(training + text) - whole(training)) for text in texts]
    assert list(extra_bits(lambda size: xz(10_000), training, texts)) == expected


def test_texts_are_bytes_with_a_mark_between():
    assert as_bytes(["naïve", "\ud800"]) == "naïve\n\n?\n\n".encode()


def test_ngrams_count_the_end_token(tokenizer, tales):
    model = count_ngrams(tokenizer, tales[:20])
    text = tales[30]
    story = tokenizer.framed(tokenizer.encode(text))
    assert len(model.nats(story)) == len(tokenizer.encode(text)) + 1
    assert ngram_bits(model, tokenizer, [text]) == pytest.approx(model.nats(story).sum() / math.log(2))
    per_byte = ngram_bits(model, tokenizer, [text]) / len(text.encode())
    assert per_byte < math.log2(tokenizer.vocab_size) * len(story) / len(text.encode())  # less than without counting


def test_each_baseline_on_each_text(tokenizer, tales):
    """Bits per byte of a text must not depend on which other texts are measured with it."""
    texts = {"a": tales[40:42], "b": tales[42:43]}
    found = {(baseline, text): value for baseline, text, value in measure_baselines(tales[:20], texts, tokenizer)}
    assert len(found) == 3 * 2
    alone = {(name, text): value for name, text, value in measure_baselines(tales[:20], {"b": texts["b"]}, tokenizer)}
    assert alone == {key: value for key, value in found.items() if key[1] == "b"}
    assert all(1 < value < 8 for value in found.values())


def test_no_training_text(tokenizer, tales):
    with pytest.raises(StorygenError, match="name story files with --train"):
        list(measure_baselines([], {"a": tales[:1]}, tokenizer))
