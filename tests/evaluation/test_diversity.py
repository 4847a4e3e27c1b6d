import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storygen.errors import StorygenError
from storygen.evaluation.diversity import distinct, first_words, is_loop, repeated_share, zipf

TEXTS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=14).map(" ".join)


def test_repetition_counts_runs_of_four_words():
    assert repeated_share("one two three four five") == (0, 2)
    assert repeated_share("a b c d, A B C D!") == (1, 5)
    assert repeated_share("too short") == (0, 0)


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("x he ran. He ran. He ran.", True),
        ("x he ran. He ran. He", False),  # two and a half times
        ("go on and on and on and", True),  # cut anywhere in the phrase
        ("no no no", False),  # a phrase has two words at least
        ("no no no no no no", True),
        ("he ran he ran he ran away", False),  # not at the end
        ("", False),
    ],
)
def test_loops(text, loops):
    assert is_loop(text) == loops


@given(TEXTS)
def test_loops_as_a_pattern_finds_them(text):
    """An off-by-one in the slices finds loops of two times, or none."""
    words = text.split()
    phrases = (words[-size:] for size in range(2, len(words) + 1))
    assert is_loop(text) == any(words[-3 * len(phrase) :] == phrase * 3 for phrase in phrases)


def test_distinct_over_a_fixed_number_of_words():
    """Over all words a longer text would always seem less diverse."""
    words = first_words(["The cat the dog", "A cat sat on a mat"], 6)
    assert words == [[b"the", b"cat", b"the", b"dog"], [b"a", b"cat"]]
    assert distinct(words, 1) == 4 / 6
    assert distinct(words, 2) == 4 / 4  # "dog a" is no pair: nobody wrote it
    assert distinct(words, 3) == 2 / 2
    assert first_words(["one two", "three"], 4) is None
    with pytest.raises(StorygenError, match="no text has 3 words"):
        distinct([[b"a", b"b"]], 3)


def test_zipf_finds_the_exponent_of_an_exact_law():
    words = [str(rank).encode() for rank in range(1, 60) for _ in range(round(1e5 * rank**-1.3))]
    assert zipf([words]) == pytest.approx(1.3, abs=0.01)
    assert zipf([[b"a"] * 5 + [b"b"]]) == pytest.approx(np.log(5) / np.log(2))
    assert zipf([[b"a"] * 9]) is None
