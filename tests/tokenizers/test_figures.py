import pytest

from storygen.tokenizers import CharTokenizer, train_tokenizer
from storygen.tokenizers.figures import measure_tokenizer


def test_a_char_tokenizer_by_hand():
    tokenizer = CharTokenizer("abc ")
    figures = measure_tokenizer(tokenizer, ["a bc", "c d"])
    assert figures.bytes_per_token == pytest.approx(7 / 6)  # d is left out
    assert figures.whole_words == pytest.approx(2 / 4)  # a and c; bc is two, and of d nothing is left
    assert figures.unknown == pytest.approx(1 / 7)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_a_larger_vocabulary_keeps_more_words_whole(tales, kind):
    small, large = (measure_tokenizer(train_tokenizer(kind, tales[:60], size), tales[60:]) for size in (400, 1500))
    assert 1 < small.bytes_per_token < large.bytes_per_token < 8
    assert 0 < small.whole_words < large.whole_words < 1
    if kind == "bpe":
        assert small.unknown == large.unknown == 0
