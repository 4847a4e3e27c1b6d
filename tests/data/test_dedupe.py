import random

import numpy as np
import pytest
from datasketch import MinHash

from storygen.data.dedupe import BANDS, ROWS, SeenStories, exact_signature, shingles, signature, similarity
from storygen.data.words import Words


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
    seen.add(name, signature(Words(text)))


def find(seen, text):
    return seen.find(signature(Words(text)))


def test_shingles():
    def of(text):
        return set(shingles(Words(text)).tolist())

    assert len(of("One, two -- THREE four five six!")) == 2
    assert of("a b c d e") != of("b a c d e")
    assert of("a b c d e") != of("a b c d f")
    assert of("b c d e f") < of("a b c d e f")
    assert (len(of("Short.")), len(of("")), len(of("a b c d e a b c d e a"))) == (1, 1, 5)


def jaccard(one, other):
    one, other = (set(shingles(Words(text)).tolist()) for text in (one, other))
    return len(one & other) / len(one | other)


def sketch(text):
    """The signature of `datasketch`, with as many places."""
    sketch = MinHash(num_perm=BANDS * ROWS, hashfunc=int)
    sketch.update_batch(shingles(Words(text)).tolist())
    return sketch


def test_signatures_estimate_the_share_of_equal_shingles_as_well_as_datasketch():
    """A hash function that favours some shingles would make the estimate wrong for all stories alike."""
    pairs = [(story(n), changed(story(n), 0.004 * (n % 25), seed=n)) for n in range(150)]
    exact = np.array([jaccard(*pair) for pair in pairs])
    ours = np.array([similarity(*(signature(Words(text)) for text in pair)) for pair in pairs]) - exact
    theirs = np.array([sketch(one).jaccard(sketch(other)) for one, other in pairs]) - exact
    expected = np.sqrt(exact * (1 - exact) / (BANDS * ROWS)).mean()  # the deviation of a binomial share
    assert abs(ours.mean()) < 0.015
    assert np.abs(ours).max() < 5 * expected
    assert ours.std() < 1.15 * max(theirs.std(), expected)


def test_signatures_of_long_texts_are_those_of_their_parts_together():
    """Texts are worked through in blocks."""
    texts = [story(n, count=6000) for n in range(3)]
    whole = np.frombuffer(signature(Words(" ".join(texts))), np.uint16)
    parts = [np.frombuffer(signature(Words(text)), np.uint16) for text in texts]
    among = sum(any(value == part[place] for part in parts) for place, value in enumerate(whole))
    assert among >= len(whole) - 1  # a run across two texts has the smallest hash now and then


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


def test_how_many_near_copies_are_found(seen):
    """The shares that docs/data.md states: by signature and bands together, with the usual threshold."""
    found = {0.7: [], 0.8: [], 0.9: []}
    for number in range(400):
        text, copy = story(number), changed(story(number), 0.004 * (number % 20), seed=number)
        exact = jaccard(text, copy)
        for share, among in found.items():
            if abs(exact - share) < 0.03:
                add(seen, str(number), text)
                among.append(find(seen, copy) == str(number))
    shares = {share: np.mean(among) for share, among in found.items()}
    assert min(map(len, found.values())) > 30
    assert shares[0.9] > 0.9
    assert 0.3 < shares[0.8] < 0.7
    assert shares[0.7] < 0.2


def test_a_copy_of_a_later_story_that_is_like_an_earlier_one(seen):
    """Both share bands with the copy; only the second is near enough."""
    first = story(1, count=1000)
    second = " ".join(first.split()[:550]) + " " + story(2, count=450)
    add(seen, "first", first)
    add(seen, "second", second)
    assert find(seen, second + " and so on") == "second"


def test_exact_only(tmp_path):
    seen = SeenStories(tmp_path / "seen.db", threshold=1.0)
    seen.add("a", exact_signature(Words(story(1))))
    assert seen.find(exact_signature(Words(story(1).upper()))) == "a"
    assert seen.find(exact_signature(Words(changed(story(1), 0.01)))) == ""


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
