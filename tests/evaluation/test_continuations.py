import math

import pytest

import storygen
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation import continuations
from storygen.evaluation.continuations import (
    Continuation,
    HeldOut,
    Kept,
    by_model,
    by_people,
    cut,
    fingerprint,
    hold_out,
)
from storygen.evaluation.stories import nats_of
from storygen.folders import locked

CONFIG = GenerationConfig(strategy="top_p", max_new_tokens=12)


@pytest.fixture(scope="module")
def writer(model_folders):
    return storygen.load(model_folders / "transformer")


@pytest.fixture
def stories(tales):
    return hold_out(tales, 5, 6)


def test_a_story_is_cut_after_whole_words():
    assert cut("One two,\n\nthree four. \n", 2) == HeldOut("One two,", "\n\nthree four.")


def test_a_story_shorter_than_its_opening():
    with pytest.raises(StorygenError, match="the story has 3 words, and its opening alone takes 3"):
        cut("One two three ", 3)


def test_short_stories_are_passed_over_and_too_few_are_refused():
    texts = ["one two", "one two three four", "", "one two three"]
    assert [story.rest for story in hold_out(texts, 2, 2)] == [" three four", " three"]
    with pytest.raises(StorygenError, match="3 stories were asked for, and 2 of 4 have more than the 2 words"):
        hold_out(texts, 3, 2)
    for count, words in ((1, 2), (2, 0)):
        with pytest.raises(StorygenError, match="give 2 and 1 at least"):
            hold_out(texts, count, words)


def test_the_model_goes_on_as_it_would_alone(writer, stories):
    for number, (story, found) in enumerate(zip(stories, by_model(writer, stories, CONFIG), strict=True)):
        alone = writer.generate(story.opening, config=CONFIG.replace(seed=number))
        assert found.text == alone.text
        assert found.tokens == len(alone.tokens)
        assert found.nats == pytest.approx(-sum(alone.logprobs), rel=1e-4)
        assert found.ended == (alone.finish_reason == "end")


def test_people_are_scored_as_the_model_is(writer, stories):
    """The figure of a text must not depend on who wrote it: the model's own text gets its own log-probabilities."""
    config = GenerationConfig(strategy="greedy", max_new_tokens=20)
    for each, story in zip(by_model(writer, stories, config), stories, strict=True):
        result = writer.generate(story.opening, config=config)
        tokens = [*writer.prompt_tokens(story.opening, "")[0], *result.tokens]
        assert nats_of(writer.model, [(tokens, len(result.tokens))])[0].item() == pytest.approx(each.nats, rel=1e-3)


def test_people_are_cut_at_the_models_limit(writer):
    tokenizer = writer.tokenizer
    story = cut("The fox ran home to the sea", 2)
    body = tokenizer.encode(story.rest)
    [whole] = by_people(writer, [story], 100)
    assert (whole.text, whole.ended, whole.tokens) == (story.rest, True, len(body) + 1)
    [part] = by_people(writer, [story], 3)
    assert (part.text, part.ended, part.tokens) == (tokenizer.decode(body[:3]), False, 3)
    assert part.nats < whole.nats
    [exact] = by_people(writer, [story], len(body))
    assert (exact.text, exact.ended) == (story.rest, False)  # the end token is over the limit


def test_a_text_longer_than_the_context_is_scored_as_far_as_it_fits(writer):
    story = cut("The fox ran. " * 100, 200)
    [found] = by_people(writer, [story], 400)
    assert found.tokens == writer.model.config.context_length
    assert math.isfinite(found.nats)


def counting(monkeypatch):
    """How many stories are asked of the model."""
    asked = []
    write_all = continuations.write_all

    def counted(writer, requests):
        requests = list(requests)
        asked.extend(requests)
        return write_all(writer, requests)

    monkeypatch.setattr(continuations, "write_all", counted)
    return asked


@pytest.mark.parametrize(
    ("text", "ended", "whole"),
    [(" He ran ho", False, " He ran"), (" He ran.\nSh", False, " He ran."), (" He ran ho", True, " He ran ho"),
     ("He", False, ""), ("", False, "")],
)  # fmt: skip
def test_half_a_word_is_not_counted(text, ended, whole):
    """The limit cuts words in two, and half a word is one that the training text may not have."""
    assert Continuation(text, ended, 1, 1.0).whole == whole


def texts(continuations):
    """Without log-probabilities, whose last digits depend on what else is in the batch."""
    return [each.text for each in continuations]


def test_nothing_is_written_twice(writer, stories, tmp_path, monkeypatch):
    asked = counting(monkeypatch)
    fresh = texts(by_model(writer, stories, CONFIG))
    asked.clear()
    assert texts(by_model(writer, stories[:2], CONFIG, tmp_path)) == fresh[:2]
    assert texts(by_model(writer, stories, CONFIG, tmp_path)) == fresh
    assert texts(by_model(writer, stories, CONFIG, tmp_path)) == fresh
    assert len(asked) == len(stories)


def test_an_interrupted_run_goes_on(writer, stories, tmp_path, monkeypatch):
    """Stopped in the middle, with a last line that a crash has torn."""
    fresh = texts(by_model(writer, stories, CONFIG))
    asked = counting(monkeypatch)
    running = by_model(writer, stories, CONFIG, tmp_path)
    for _ in range(3):
        next(running)
    running.close()
    [path] = tmp_path.glob("*/continuations.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    asked.clear()
    assert texts(by_model(writer, stories, CONFIG, tmp_path)) == fresh
    assert len(asked) == 3
    assert texts(by_model(writer, stories, CONFIG, tmp_path)) == fresh
    assert len(asked) == 3


def test_other_weights_settings_or_openings_are_written_anew(writer, model_folders, stories, tmp_path, monkeypatch):
    asked = counting(monkeypatch)
    list(by_model(writer, stories, CONFIG, tmp_path))
    other = storygen.load(model_folders / "transformer")
    assert fingerprint(other) == fingerprint(writer)
    other.model.embedding.weight.data[0, 0] += 1
    assert fingerprint(other) != fingerprint(writer)
    for changed in (
        (other, stories, CONFIG),
        (writer, stories, CONFIG.replace(max_new_tokens=13)),
        (writer, [HeldOut("Another", " one"), *stories[1:]], CONFIG),
    ):
        asked.clear()
        list(by_model(*changed, tmp_path))
        assert asked


def test_two_runs_do_not_write_into_one_file(writer, stories, tmp_path):
    list(by_model(writer, stories[:2], CONFIG, tmp_path))
    [folder] = (path for path in tmp_path.iterdir() if path.is_dir())
    with locked(folder), pytest.raises(StorygenError, match="another process is writing"):
        list(by_model(writer, stories, CONFIG, tmp_path))


def test_lines_that_are_no_continuations_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'[]\n{"key": "a"}\n\xff\n{"text": "x"}\n{"key": "b", "text": "t", "ended": true, "tokens": 1, "no'
    )
    kept = Kept(path)
    assert "a" not in kept and "b" not in kept
    kept.add("b", Continuation("t", True, 1, 2.0))
    assert Kept(path)["b"] == Continuation("t", True, 1, 2.0)
