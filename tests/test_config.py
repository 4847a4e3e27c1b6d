import dataclasses

import pytest

from storygen.config import MODIFIERS, STRATEGIES, GenerationConfig, LSTMConfig, TransformerConfig, field_of
from storygen.errors import StorygenError


@pytest.mark.parametrize(
    "config", [TransformerConfig(), LSTMConfig(dropout=0.25), GenerationConfig(seed=7, stop=("a", "b"))]
)
def test_json_round_trip(config):
    assert type(config).from_json(config.to_json()) == config


def test_unknown_key_is_refused_with_the_nearest_one():
    """A misspelt key that is silently ignored leaves the user with settings that he did not choose."""
    with pytest.raises(StorygenError, match=r"'temprature'; did you mean 'temperature'\?"):
        GenerationConfig.from_dict({"temprature": 1.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -0.1}, r"GenerationConfig.temperature is -0.1; it must be a number from 0.0 to 2.0"),
        ({"temperature": float("nan")}, r"temperature is nan; it must be a number from 0.0 to 2.0"),
        ({"temperature": "hot"}, r"temperature is 'hot'"),
        ({"top_k": 0}, r"top_k is 0; it must be a whole number from 1 to 1000"),
        ({"top_k": 2.5}, r"top_k is 2.5"),
        ({"top_k": True}, r"top_k is True"),
        ({"top_p": 1.01}, r"top_p is 1.01"),
        ({"max_new_tokens": 10**9}, r"max_new_tokens is 1000000000"),
        ({"seed": 10**400}, r"seed is 1000"),
        ({"temperature": 10**400}, r"temperature is 1000"),
        ({"seed": -1}, r"seed is -1; it must be a whole number or empty from 0"),
        ({"strategy": "topp"}, r"'topp'; did you mean 'top_p'\? known: greedy, sample"),
        ({"strategy": None}, r"strategy is None"),
        ({"min_p": 1.5}, r"min_p is 1.5; it must be a number from 0.0 to 1.0"),
        ({"typical_p": -0.1}, r"typical_p is -0.1"),
        ({"repetition_penalty": 0.5}, r"repetition_penalty is 0.5; it must be a number from 1.0 to 3.0"),
        ({"min_new_tokens": 201}, r"min_new_tokens is 201; it must be at most max_new_tokens \(200\)"),
        ({"stop": "The end"}, r"stop is 'The end'; it must be a list of at most 8 texts"),
        ({"stop": ["x"] * 9}, r"must be a list of at most 8 texts"),
        ({"stop": [1]}, r"must be a list of at most 8 texts"),
        ({"stop": [""]}, r"each text must have 1 to 100 characters"),
        (
            {"strategy": "diverse_beam", "num_beams": 4, "num_groups": 3},
            r"num_groups is 3; num_beams \(4\) must be a mul",
        ),
        ({"strategy": "beam", "num_beams": 16, "max_new_tokens": 501}, r"with 16 beams it must be at most 500"),
    ],
)
def test_bad_value_names_field_value_and_what_is_right(changes, message):
    """Bounds that only the widgets know are open to everyone who calls the API."""
    with pytest.raises(StorygenError, match=message):
        GenerationConfig(**changes)


@pytest.mark.parametrize("text", ["{", "[1]", "null", "[" * 100_000, None])
def test_bad_json_is_refused(text):
    with pytest.raises(StorygenError, match="GenerationConfig"):
        GenerationConfig.from_json(text)


def test_whole_floats_become_integers():
    """A slider sends 40 as 40.0; a k of 40.0 would fail deep inside torch."""
    config = GenerationConfig(top_k=40.0, seed=7.0)
    assert (config.top_k, config.seed) == (40, 7)
    assert isinstance(config.top_k, int)


def test_contradictory_shape_is_refused():
    with pytest.raises(StorygenError, match="hidden_size is 30; it must be a multiple of num_heads"):
        TransformerConfig(hidden_size=30, num_heads=4)
    with pytest.raises(StorygenError, match="even head width, not 3"):
        TransformerConfig(hidden_size=12, num_heads=4)


def test_only_beams_multiply_the_tokens():
    """The number of beams is left over in the settings when another strategy is chosen."""
    assert GenerationConfig(strategy="top_p", num_beams=16, max_new_tokens=2000).rows == 1


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GenerationConfig().top_k = 3


@pytest.mark.parametrize("config", [TransformerConfig, LSTMConfig, GenerationConfig])
def test_every_field_explains_itself(config):
    """The command line and the sliders take their help from here."""
    for field in dataclasses.fields(config):
        assert field.metadata["help"].endswith(".") or ":" in field.metadata["help"], field.name


def test_strategies_name_only_existing_settings():
    for names in (*STRATEGIES.values(), MODIFIERS):
        for name in names:
            field_of(GenerationConfig, name)
