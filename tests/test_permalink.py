from urllib.parse import parse_qs

import pytest

import storygen
from storygen.errors import StorygenError
from storygen.permalink import from_query, to_query


@pytest.fixture(scope="module")
def writer(model_folders):
    return storygen.load(model_folders / "lstm")


def read(query):
    return from_query({name: value if len(value) > 1 else value[0] for name, value in parse_qs(query).items()})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "top_k", "top_k": 7, "temperature": 1.25},
        {"strategy": "beam", "num_beams": 2, "early_stopping": "never", "full_sentence": True},
        {"stop": ("The end.", "Ä & b=c"), "repetition_penalty": 1.3},
        {"stop": ("one",)},
    ],
)
def test_a_link_writes_the_same_story(writer, settings):
    config = storygen.GenerationConfig(max_new_tokens=12, seed=5, **settings)
    result = writer.generate("Once upon & a time", "The Fox? 100 %", config)
    link = read(to_query(result))
    assert (link.model, link.revision, link.config) == (result.model, result.revision, config)
    assert writer.generate(link.opening, link.title, link.config).story == result.story


def test_the_seed_is_in_the_link_even_if_none_was_asked_for(writer):
    result = writer.generate(config=storygen.GenerationConfig(max_new_tokens=3))
    assert read(to_query(result)).config.seed == result.seed


def test_a_page_without_a_link_and_one_with_a_link_too_long(writer):
    assert from_query({}) is None
    assert from_query({"__theme": "dark"}) is None
    long = writer.generate("word " * 1000, config=storygen.GenerationConfig(max_new_tokens=1))
    assert to_query(long) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "x"}, "seed 'x', which is no number"),
        ({"seed": "1", "temperature": "9"}, "temperature is 9.0; it must be a number from 0"),
        ({"seed": "1", "strategy": "magic"}, "unknown GenerationConfig.strategy 'magic'"),
        ({"seed": "1", "full_sentence": "maybe"}, "full_sentence is 'maybe'; it must be true or false"),
    ],
)
def test_a_bad_link_says_what_is_wrong(values, message):
    with pytest.raises(StorygenError, match=message):
        from_query(values)
