import pytest
from hypothesis import given
from hypothesis import strategies as st

from storygen.data.filters import FilterConfig, Filters, language_of, letter_share, repeats_itself
from storygen.data.words import Words
from storygen.errors import StorygenError

STORY = (
    "A fox and a hen lived on two sides of one river, and every evening the fox came down to the water and asked her "
    "whether she would not like to see his house. She never did. One winter the river froze, and he walked over."
)
GERMAN = (
    "Ein Fuchs und eine Henne wohnten an den beiden Ufern eines Flusses, und jeden Abend kam der Fuchs ans Wasser und "
    "fragte sie, ob sie nicht sein Haus sehen wolle. Sie wollte nie."
)


def repeats(text):
    return repeats_itself(text, Words(text))


def reason(filters, text):
    return filters.reason(text, Words(text))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (STORY, ""),
        ("Too short.", "short"),
        ("word " * 51, "long"),
        ("12 34 56 78 ab 90 12 34 56 78 90 -- ** ..", "letters"),
        (GERMAN, "language"),
        ("She said no. " * 10, "repetition"),
        (STORY.replace("hen", "dirty  word"), "banned"),
    ],
)
def test_each_rule_has_its_name(tmp_path, text, rule):
    (tmp_path / "banned.txt").write_text("# a comment\nDirty word\n\n")
    filters = Filters(
        FilterConfig(max_repetition=1.0, max_words=50, banned_words=str(tmp_path / "banned.txt"), min_words=3)
    )
    assert reason(filters, text) == rule


CHINESE = (
    "\u4ece\u524d\u6709\u4e00\u53ea\u72d0\u72f8\uff0c\u4f4f\u5728\u6cb3\u8fb9\u7684\u5c0f\u5c4b\u91cc\u3002"
    "\u51ac\u5929\u6765\u4e86\uff0c\u6cb3\u6c34\u7ed3\u4e86\u51b0\uff0c\u5b83\u5c31\u8d70\u8fc7\u53bb\u770b\u6bcd\u9e21\u3002"
)


def test_a_story_in_a_script_without_spaces_is_not_short():
    """Chinese was dropped as `short`, whatever its length and whatever the language asked for."""
    assert reason(Filters(FilterConfig()), CHINESE) == "language"
    assert reason(Filters(FilterConfig(language="zh")), CHINESE) == ""
    assert reason(Filters(FilterConfig(language="zh")), CHINESE[:5]) == "short"


def test_what_is_off_drops_nothing():
    off = FilterConfig(min_words=0, min_letters=0.0, language="", max_repetition=0.0)
    assert reason(Filters(off), "1 " * 100) == ""


def test_banned_words_are_whole_words():
    """'ass' must not drop every story with grass in it."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\ufeffgrass snake\nriv\n")  # with a byte order mark, as Windows' Notepad writes it
        file.flush()
        filters = Filters(FilterConfig(banned_words=file.name))
    assert reason(filters, STORY) == ""
    assert reason(filters, STORY + " A Grass\nSnake slept.") == "banned"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "xx"}, "language 'xx' is unknown; known: ace, af, "),
        ({"banned_words": "none.txt"}, r"banned_words none\.txt cannot be read"),
        ({"min_letters": 2}, "min_letters is 2"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(StorygenError, match=message):
        Filters(FilterConfig(**changes))


def test_letters():
    assert letter_share("ab 1!") == pytest.approx(0.5)
    assert letter_share("é1") == pytest.approx(0.5)
    assert letter_share("  ") == letter_share("\u2003") == letter_share("") == 0


@given(st.text())
def test_the_fast_way_counts_the_same(text):
    plain = text.encode("ascii", "ignore").decode()
    assert letter_share(plain) == pytest.approx(sum(map(str.isalpha, plain)) / max(1, len("".join(plain.split()))))


def test_the_builtin_tales_are_all_kept(tales):
    """Real stories, with refrains and dialogue, are the ones a rule must not touch."""
    filters = Filters(FilterConfig())
    assert [reason(filters, text) for text in tales] == [""] * len(tales)
    assert {language_of(text) for text in tales} == {"en"}


def test_tales_with_refrains_are_kept():
    """At the limits for web pages the best-known folk tales are lost."""
    refrain = " So he went on and on, and met a {}, and the {} asked him where he was going."
    animals = ("fox", "hen", "goat", "cow")
    met = (refrain.format(animal, animal) + f" {GERMAN[40 * n : 40 * n + 60]}" for n, animal in enumerate(animals))
    text = STORY + "".join(met)
    assert reason(Filters(FilterConfig(max_repetition=1.0)), text) == "repetition"
    assert reason(Filters(FilterConfig()), text) == ""


def test_breaks_between_scenes_are_no_repeated_lines():
    scenes = "\n* * *\n".join(" ".join(words(60, 100 * n)) for n in range(6))
    assert not repeats(scenes)


def test_scripts_whose_vowels_are_marks_have_letters():
    assert letter_share("\u0939\u093f\u0928\u094d\u0926\u0940") == 1


def words(count, start=0):
    return [f"w{number}" for number in range(start, start + count)]


def test_repeated_lines():
    lines = [" ".join(words(5, 10 * n)) for n in range(10)]
    assert not repeats("\n".join(lines))
    assert not repeats("\n".join([*lines, "the end", "the end"]))
    assert repeats("\n".join([*lines, *lines[:6]]))  # 6 of 16 lines have come before
    assert repeats("\n".join([*lines, " ".join(words(20, 200)), " ".join(words(20, 200))]))


@pytest.mark.parametrize("length", [2, 3, 4])
def test_the_commonest_run(length):
    """The share of the characters that the commonest run of words covers, against the table's limit."""
    limit = {2: 0.20, 3: 0.18, 4: 0.16}[length]
    run = ["abcd"] * (length - 1) + ["efgh"]
    for share, expected in ((limit - 0.04, False), (limit + 0.04, True)):
        count = round(share * 200 / length)
        filler = iter(f"{number:04d}" for number in range(200))
        text = []
        for _ in range(count):
            text += [*run, *(next(filler) for _ in range(200 // count - length))]
        assert (repeats(" ".join(text))) is expected, share


def test_runs_that_come_again_count_once():
    """Overlapping runs must not count a character twice, or two equal sentences would drop a page."""
    once = words(200)
    assert not repeats(" ".join(once + once[:10]))
    assert not repeats(" ".join(once + once[:24]))  # 11 % covered: the limit for runs of ten is 10 % ...
    assert repeats(" ".join(once + once[:40]))
