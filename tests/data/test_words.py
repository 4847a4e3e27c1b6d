import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storygen.data.words import Words


def test_case_and_marks_are_no_matter():
    assert Words("One, two -- THREE!  _four_ 5th").list == [b"one", b"two", b"three", b"four", b"5th"]
    assert Words("Caf\u00e9, NA\u00cfVE").list == ["caf\u00e9".encode(), "na\u00efve".encode()]
    assert len(Words("")) == len(Words("... \u2014 !")) == 0


@given(st.text())
def test_the_fast_way_finds_the_same(text):
    plain = text.encode("ascii", "ignore").decode()
    assert Words(plain).list == [word.encode() for word in re.findall(r"[^\W_]+", plain.lower())]


def test_in_scripts_without_spaces_characters_are_words():
    """Otherwise a Chinese page is a few words, too short for every rule."""
    assert len(Words("\u4ece\u524d\u6709\u4e00\u53ea\u72d0\u72f8\u3002")) == 7
    assert Words("der Fuchs \u72d0\u72f8").list == [b"der", b"fuchs", *(c.encode() for c in "\u72d0\u72f8")]


def test_runs_are_the_same_where_the_words_are():
    words = Words("a b c d a b c e")
    runs = words.runs(3)
    assert len(runs) == 6
    assert [(i, j) for i in range(6) for j in range(i) if runs[i] == runs[j]] == [(4, 0)]
    assert len(np.unique(words.runs(2))) == 5
    assert len(words.runs(9)) == 0
    assert len(set(Words("a b b a").runs(2).tolist())) == 3  # the order counts
