import itertools
import json
import random

import pytest

from storygen.data import clean_corpus
from storygen.data.clean_corpus import CleaningConfig, Counts, DedupeConfig, Input, clean_all, read_clean
from storygen.data.filters import FilterConfig
from storygen.data.story import Story
from storygen.errors import StorygenError

WORDS = "fox hen river house winter evening bread king sea hat moon lamp wolf queen goat apple road"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """So that there are several, and several shards."""
    monkeypatch.setattr(clean_corpus, "BATCH_CHARACTERS", 1000)


def story(seed, count=60):
    draw = random.Random(seed)
    return Story(" ".join(draw.choice(WORDS.split()) + str(draw.randrange(99)) for _ in range(count)), source="a book")


def config(**changes):
    filters = FilterConfig(language="", min_letters=0.0, min_words=3, max_repetition=0.0)
    return CleaningConfig(filter=filters, **{"shard_characters": 5000, **changes})


def given(stories, split="train", times=1, name="input"):
    return Input(name, lambda report: iter(stories), times, split)


def run(tmp_path, inputs, settings=None, workers=0):
    tmp_path.mkdir(exist_ok=True)
    state = clean_all(inputs, tmp_path, settings or config(), workers, lambda size: None)
    return state, [clean for name in state.shards for clean in read_clean(tmp_path / name)]


def test_what_comes_out_is_what_was_kept(tmp_path):
    stories = [story(n) for n in range(100)]
    state, kept = run(tmp_path, [given(stories, times=3)])
    assert [clean.story for clean in kept] == stories
    assert {(clean.times, clean.split) for clean in kept} == {(3, "train")}
    assert len(state.shards) > 3
    assert (state.counts.read, state.counts.kept) == (100, 100)
    assert state.counts.words == {6: 100}  # 60 words: 2 ** 5 and more


def test_drops_are_counted_by_rule_with_examples(tmp_path):
    again = Story("  " + story(1).text.upper())
    near = Story(story(2).text + " and one more word")
    stories = [story(1), story(2), again, near, Story("Too short"), Story("\u200b "), Story("<b>a bold</b> word, " * 3)]
    state, kept = run(tmp_path, [given(stories)])
    assert [clean.story for clean in kept[:2]] == stories[:2]
    assert state.counts.dropped == {"duplicate": 2, "short": 1, "empty": 1}
    assert state.counts.examples["short"] == ["Too short"]
    assert state.counts.changed["markup"] == 1


def test_validation_stories_stay_and_their_copies_do_not_get_into_training(tmp_path):
    """Training on a story that one measures on makes the figure too good; dropping it from validation changes what is
    measured from run to run."""
    valid = [story(1), story(1), Story("Short.")]
    train = [Story(story(1).text + " the end"), story(2)]
    state, kept = run(tmp_path, [given(valid, "valid"), given(train)])
    assert [(clean.split, clean.story) for clean in kept] == [*(("valid", s) for s in valid), ("train", story(2))]
    assert state.counts.dropped == {"in validation": 1}


@pytest.mark.parametrize(("duplicates", "kept"), [("near", 1), ("exact", 2), ("keep", 3)])
def test_how_much_counts_as_the_same(tmp_path, duplicates, kept):
    stories = [story(1), Story(story(1).text.upper()), Story(story(1).text + " the end")]
    _, found = run(tmp_path, [given(stories)], config(dedupe=DedupeConfig(duplicates=duplicates)))
    assert len(found) == kept


def test_any_number_of_processes_gives_the_same(tmp_path):
    stories = [story(n % 70, 60 + n % 50) for n in range(300)]
    results = []
    for workers in (0, 2):
        state, _ = run(tmp_path / str(workers), [given(stories[:100], name="a"), given(stories[100:])], workers=workers)
        results.append([(name, (tmp_path / str(workers) / name).read_bytes()) for name in state.shards])
        results.append(state.counts.to_dict())
    assert results[:2] == results[2:]


class Cut(Exception):
    pass


@pytest.mark.parametrize("after", [5, 37, 120, 199])
def test_interrupted_work_goes_on_as_if_it_never_was(tmp_path, after):
    """Stories of the unfinished shard are read again: not lost, not kept twice, and not their own copies."""
    stories = [story(n % 150) for n in range(200)]

    def broken(report):
        yield from itertools.islice(stories, after)
        raise Cut

    whole, _ = run(tmp_path / "whole", [given(stories, name="a"), given(stories[:10])])
    with pytest.raises(Cut):
        run(tmp_path / "cut", [Input("a", broken), given(stories[:10])])
    again, _ = run(tmp_path / "cut", [given(stories, name="a"), given(stories[:10])])
    assert again.counts == whole.counts
    for name in whole.shards:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_counts_survive_json(tmp_path):
    state, _ = run(tmp_path, [given([story(1), story(1), Story("x")])])
    assert Counts.from_dict(json.loads(json.dumps(state.counts.to_dict()))) == state.counts


def test_bad_settings_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(StorygenError, match="language 'xx' is unknown"):
        clean_all(
            [given([story(1)])], tmp_path, CleaningConfig(filter=FilterConfig(language="xx")), 0, lambda size: None
        )
