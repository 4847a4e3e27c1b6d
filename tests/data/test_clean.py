import pytest

from storygen.data.clean import clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cafÃ© â€œquotedâ€\x9d", 'café "quoted"'),
        ("a\x00b\x07c\ufeff\u200bd", "abcd"),
        ("one  two\t three \r\nfour", "one two three\nfour"),
        ("\n\na\n\n\n\n\nb   \n\n", "a\n\nb"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        (" \n \x00 ", ""),
    ],
)
def test_clean(raw, expected):
    assert clean(raw) == expected


def test_a_megabyte_of_spaces_takes_no_time():
    """A quadratic regular expression took hours."""
    assert clean("a" + " " * 1_000_000 + "b") == "a b"


def test_clean_text_stays_as_it_is(tales):
    for text in tales:
        assert clean(text) == text
