import pytest
from hypothesis import given
from hypothesis import strategies as st

from storygen.data.clean_text import (
    STEPS,
    CleanConfig,
    clean,
    drop_boilerplate,
    drop_invisible,
    drop_markup,
    plain_marks,
    repair_encoding,
    tidy_spaces,
    unwrap,
)  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cafÃ© â€œquotedâ€\x9d", 'café "quoted"'),
        ("a\x00b\x07c\ufeff\u200bd", "abcd"),
        ("one  two\t three \r\nfour", "one two three\nfour"),
        ("\n\na\n\n\n\n\nb   \n\n", "a\n\nb"),
        ("a page\x0cbreak", "a page\nbreak"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        (" \n \x00 ", ""),
        ("&quot;Yes,&quot; said she &amp; he.", '"Yes," said she & he.'),
        ("ﬁne cafe\u0301", "fine café"),
    ],
)
def test_clean(raw, expected):
    assert clean(raw) == expected


def test_marks():
    assert plain_marks("‘It’s’ — “so” – … «là»") == '\'It\'s\' -- "so" -- ... "là"'


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<p>He <i>ran</i>.<br/>She <b class='x'>sat</b>.</p>", "He ran.\nShe sat.\n"),
        ("<!-- hidden --> seen", " seen"),
        ("3 < 4 and 5 > 2, a<b and b>c, <i love you>", "3 < 4 and 5 > 2, a<b and b>c, <i love you>"),
        ("<|endoftext|>", "<|endoftext|>"),
        ("see [the fox](https://example.org/fox) run", "see the fox run"),
        ("a [bracket] (and more)", "a [bracket] (and more)"),
        ("go to https://example.org/x?y=1 now", "go to  now"),
        ("**bold**, *soft* and _Italic words_!", "bold, soft and Italic words!"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("## Chapter\nText # not one", "Chapter\nText # not one"),
    ],
)
def test_markup(raw, expected):
    assert drop_markup(raw) == expected


@pytest.mark.parametrize(
    "line",
    [
        "Copyright 1999 by A. Nobody", "(c) 2004", "Copyright (c) by nobody", "All rights reserved.",
        "ISBN 0-123-45678-9", "This eBook is from Project Gutenberg.", "[Transcriber's Note: spelling kept.",
        "Follow me on Twitter!",
        "Click here to read more.",
    ],
)  # fmt: skip
def test_boilerplate_lines_go(line):
    assert drop_boilerplate(f"One.\n{line}\nTwo.") == "One.\n\nTwo."


@pytest.mark.parametrize(
    "story",
    [
        "He had the right of way. She followed him on foot, and the copyright of it all was hers to note.",
        '"Follow me on foot," said the guide.',
        '"I subscribe to this plan," said the king.',
        "They agreed on the terms of use of the well, and nobody was thirsty again.",
        "Copyright was a word he had never heard, so he asked the owl.",
        "The button said click here, and because he was a curious boy he did, and then the whole wall began to move "
        "and to sing.",
        "(c) said Ben.",
    ],
)
def test_the_same_words_in_a_story_stay(story):
    """A line of a story is mostly a paragraph: whole ones were lost."""
    assert drop_boilerplate(story) == story


WRAPPED = """\
Once upon a time there was a miller who had three sons, and when he
died he left them nothing but his mill, his donkey and his cat, and
the youngest got the cat.

"What shall I do with it?" said he."""


def test_wrapped_lines_are_rejoined():
    first, second = unwrap(WRAPPED).split("\n\n")
    assert first == " ".join(WRAPPED.split("\n\n")[0].split("\n"))
    assert second == WRAPPED.split("\n\n")[1]


def test_a_word_broken_at_its_hyphen_is_one_again():
    text = "There was once in that town, by the river, an old and very well-\nknown baker, who rose at three each day."
    assert unwrap(text) == text.replace("-\n", "-")


def test_one_short_line_does_not_keep_a_paragraph_wrapped():
    lines = [f"of the river and the wood that lay between them, they went {n:02d}" for n in range(12)]
    lines[5] = "of the river"
    assert "\n" not in unwrap("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "Where the reeds are whispering low,\nThere I go, there I go,\nOver the hill",
        "And so the river, broad and slow and green, went by the town,\nAnd so the boats, like sleepy birds, came one "
        "by one all down,\nAnd so the children, every one, ran out to see them come.",
        "The sun is up, the lark is out, and we are mettlesome lads,\nThe earth is coming up again, and so are we!",
        '"Yes," said the fox.\n"No," said the hen, and shut the door so that it rang in all the yard.\n"Perhaps."',
        "A paragraph that is all on one long line, as most texts on the net have it, much longer than a line of "
        "print would be, so that nothing was wrapped.\nAnd the next one.",
    ],
)
def test_verse_and_dialogue_keep_their_lines(text):
    """Joined verse teaches a model to write none."""
    assert unwrap(text) == text


def test_a_megabyte_of_anything_takes_no_time():
    """A quadratic regular expression took hours."""
    assert clean("a" + " " * 1_000_000 + "b") == "a b"
    for piece in ("<", "[", "*", "_", "\n", "&", "(c) ", "<a ", "](", "http://", "ISBN", "#", "\u00e9", "<!--"):
        clean(piece * (200_000 // len(piece)))


def test_clean_text_stays_as_it_is(tales):
    changed = []
    for text in tales:
        assert clean(text, changed=changed) == text
    assert not changed


def test_each_step_can_be_turned_off_and_is_counted():
    raw = {
        "encoding": "cafÃ©", "marks": "a — b", "invisible": "a\u200bb", "boilerplate": "ISBN 123", "unwrap": WRAPPED,
        "markup": "<i>a</i>", "spaces": "a  b",
    }  # fmt: skip
    assert list(raw) == list(STEPS)
    for name, text in raw.items():
        changed = []
        assert clean(text, changed=changed) != text
        assert name in changed
        assert clean(text, CleanConfig(**{step: step != name for step in STEPS})) == text


@given(st.text())
def test_no_step_fails_and_twice_is_once(text):
    for step in (repair_encoding, plain_marks, drop_invisible, drop_boilerplate, tidy_spaces):
        once = step(text)
        assert isinstance(once, str)
        assert step(once) == once or step is repair_encoding
