import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storygen.endings import Ending


def stream(pieces, is_complete=False, **rules):
    ending = Ending(**rules)
    given = [ending.push(piece) for piece in pieces]
    return [*given, ending.finish(is_complete)]


def test_a_stop_text_may_span_pieces():
    """The `ab` and `c` of a stop text `abc` must not be on screen before the rest shows what they are."""
    assert stream(["xa", "b", "cdef"], stop=("abc",)) == ["x", "", "", ""]


def test_what_was_held_back_comes_when_it_is_no_stop_text():
    """Forgetting where a match may begin again is the classic bug: stop `112`, text `1112`."""
    assert stream(["1", "1", "1", "2x"], stop=("112",)) == ["", "", "1", "", ""]
    assert "".join(stream(["a", "b", "x"], stop=("abc",))) == "abx"


def test_the_first_of_several_stop_texts_cuts():
    assert "".join(stream(["one two three"], stop=("three", "two"))) == "one "


@pytest.mark.parametrize("pieces", [["xabc"], ["xab", "c"], ["x", "a", "b", "c"]])
def test_a_stop_text_inside_another_is_met_first(pieces):
    """Else the result would depend on where a token ends."""
    assert "".join(stream(pieces, stop=("abc", "b"))) == "xa"


def test_nothing_comes_after_a_stop_text():
    ending = Ending(stop=("!",))
    assert ending.push("Oh! No") == "Oh"
    assert ending.is_stopped
    assert ending.push(" more") + ending.finish(False) == ""


@settings(max_examples=300, deadline=None)
@given(
    text=st.text("ab.! ", max_size=30),
    stop=st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3),
    sizes=st.lists(st.integers(1, 5), min_size=30, max_size=30),
    full_sentence=st.booleans(),
    is_complete=st.booleans(),
)
def test_pieces_add_up_however_the_text_is_cut(text, stop, sizes, full_sentence, is_complete):
    """What is streamed in any pieces is what would be kept of the whole text."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    rules = {"stop": tuple(stop), "full_sentence": full_sentence}
    whole = "".join(stream([text], is_complete, **rules))
    assert "".join(stream(pieces, is_complete, **rules)) == whole
    assert not any(each in whole for each in stop)
    # The stop text that is complete first, and of those that end together the longest.
    ends = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
    before_stop = text[: min(ends)[1]] if ends else text
    assert before_stop.startswith(whole)
    if not full_sentence or is_complete:
        assert whole == before_stop


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("He ran. She sat. Then the", "He ran. She sat."),
        ('"Come!" he said. "I', '"Come!" he said.'),
        ('He said, "Come." And', 'He said, "Come."'),
        ("It was Mr. Fox. And Mr.", "It was Mr. Fox."),
        ("it was mr. fox. and prof.", "it was mr. fox."),
        ("It cost 3.50 and then", "It cost 3.50 and then"),
        ("no end at all", "no end at all"),
        ("All done.", "All done."),
        ("Wait... What", "Wait..."),
    ],
)
def test_cut_after_the_last_whole_sentence(text, kept):
    assert "".join(stream(list(text), full_sentence=True)) == kept


def test_a_story_that_came_to_its_end_is_not_cut():
    assert "".join(stream(["The end. Or is it"], is_complete=True, full_sentence=True)) == "The end. Or is it"
