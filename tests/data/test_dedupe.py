import random

import numpy as np
import pytest

from storygen.data.dedupe import SeenStories, exact_key, shingles, signature, words_of


def story(seed, count=200):
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(500)}" for _ in range(count))


def changed(text, share, seed=9):
    """The text with a share of its words replaced."""
    draw = random.Random(seed)
    return " ".join("other" if draw.random() < share else word for word in text.split())


@pytest.fixture
def seen(tmp_path):
    base = SeenStories(tmp_path / "seen.db")
    yield base
    base.close()


def add(seen, name, text):
    seen.add(name, exact_key(words_of(text)), signature(words_of(text)))


def find(seen, text):
    return seen.find(exact_key(words_of(text)), signature(words_of(text)))


def test_shingles():
    def count(text):
        return len(shingles(words_of(text)))

    assert words_of("One, two -- THREE!") == ["one", "two", "three"]
    assert count("One, two -- THREE four five six!") == 2
    assert not np.array_equal(shingles(list("abcde")), shingles(list("bacde")))
    assert set(shingles(list("bcdef"))) < set(shingles(list("abcdef")))
    assert (count("Short."), count(""), count("a b c d e a b c d e a")) == (1, 1, 5)


def test_signatures_estimate_the_share_of_equal_shingles():
    one = story(1)
    for share in (0.0, 0.01, 0.05):
        other = changed(one, share)
        first, second = set(shingles(words_of(one))), set(shingles(words_of(other)))
        exact = len(first & second) / len(first | second)
        assert np.mean(signature(words_of(one)) == signature(words_of(other))) == pytest.approx(exact, abs=0.2)
    assert np.mean(signature(words_of(one)) == signature(words_of(story(2)))) < 0.1


def test_case_marks_and_spaces_make_no_other_story(seen):
    add(seen, "first", "The fox, said she, is HERE.")
    assert find(seen, 'the fox said she:\n"is here"') == "first"
    assert find(seen, "The fox, said she, is there.") == ""


def test_near_copies_are_found_and_other_stories_are_not(seen):
    for number in range(50):
        add(seen, str(number), story(number))
    assert find(seen, changed(story(7), 0.01)) == "7"
    assert find(seen, story(7) + " and an end that is new") == "7"
    assert find(seen, changed(story(7), 0.3)) == ""
    assert find(seen, story(99)) == ""


def test_near_copies_of_long_texts_are_found(seen):
    for number in range(5):
        add(seen, str(number), story(number, count=5000))
    assert find(seen, changed(story(3, count=5000), 0.01)) == "3"
    assert find(seen, story(9, count=5000)) == ""
    # A chapter with an introduction: another length, and nearly the same text.
    assert find(seen, story(77, count=400) + " " + story(2, count=5000)) == "2"


def test_a_copy_of_a_later_story_that_is_like_an_earlier_one(seen):
    """Both share bands with the copy; only the second is near enough."""
    first = story(1, count=1000)
    second = " ".join(first.split()[:550]) + " " + story(2, count=450)
    add(seen, "first", first)
    add(seen, "second", second)
    assert find(seen, second + " and so on") == "second"


def test_exact_only(tmp_path):
    seen = SeenStories(tmp_path / "seen.db", threshold=None)
    seen.add("a", exact_key(words_of(story(1))), None)
    assert seen.find(exact_key(words_of(story(1))), None) == "a"
    assert seen.find(exact_key(words_of(changed(story(1), 0.01))), None) == ""


def test_what_was_kept_is_found_again_and_nothing_else(tmp_path):
    """After an interruption the stories of the unfinished shard are read again: they must not be their own copies."""
    first = SeenStories(tmp_path / "seen.db")
    add(first, "a", story(1))
    add(first, "b", story(2))
    first.commit()
    add(first, "c", story(3))
    first.close()
    counted = SeenStories(tmp_path / "seen.db", keep=9)
    assert len(counted) == 2
    counted.close()
    again = SeenStories(tmp_path / "seen.db", keep=1)
    assert len(again) == 1
    assert find(again, changed(story(1), 0.01)) == "a"
    assert find(again, story(2)) == ""
