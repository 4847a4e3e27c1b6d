import pytest

from storygen.errors import StorygenError
from storygen.evaluation.readability import grade, syllables


@pytest.mark.parametrize(
    ("word", "count"),
    [("fox", 1), ("idea", 3), ("children", 2), ("loved", 1), ("don't", 1), ("don’t", 1), ("fwinnie", 2), ("glumbe", 1),
     ("brzl", 1), ("snazzle", 2)],
)  # fmt: skip
def test_syllables(word, count):
    """From the dictionary where it has the word, "idea" say, and by rule for made-up names."""
    assert syllables(word) == count


def test_grade_by_hand():
    """7 words, 2 sentences, 9 syllables; three dots are one end, and marks alone are no sentence."""
    text = 'The little fox ran... "Where is mother?"!'
    assert grade(text) == pytest.approx(0.39 * 7 / 2 + 11.8 * 9 / 7 - 15.59)


@pytest.mark.parametrize("text", ["", "12 ... !"])
def test_no_words(text):
    with pytest.raises(StorygenError, match="no word in the text"):
        grade(text)


def test_no_full_stop():
    assert grade("the fox ran and ran") == pytest.approx(0.39 * 5 + 11.8 - 15.59)
