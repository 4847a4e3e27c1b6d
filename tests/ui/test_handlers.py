"""What the page's events call, without a browser."""

import pytest

import storygen
from storygen.config import MODIFIERS, STRATEGIES, GenerationConfig
from storygen.errors import StorygenError
from storygen.ui.markdown import plain
from storygen.ui.settings import EXPLANATIONS, TUNABLE, config_of
from storygen.ui.stream import paced
from storygen.ui.write import write_story

DEFAULTS = ["" if name == "stop" else getattr(GenerationConfig(), name) for name in (*TUNABLE, *MODIFIERS)]


def test_every_strategy_is_explained():
    """The dropdown is the registry: a strategy without a label would crash the page."""
    assert EXPLANATIONS.keys() == STRATEGIES.keys()


def test_widget_values_become_settings():
    assert config_of("top_k", *DEFAULTS, 50.0, " 7 ") == GenerationConfig(strategy="top_k", max_new_tokens=50, seed=7)
    assert config_of("greedy", *DEFAULTS, 50, "").seed is None
    assert config_of("greedy", *DEFAULTS, 50, None).seed is None


def test_stop_texts_are_lines():
    values = dict(zip((*TUNABLE, *MODIFIERS), DEFAULTS, strict=True))
    values["stop"] = "The end.\n\n Chapter 2\n"
    assert config_of("greedy", *values.values(), 50, "").stop == ("The end.", " Chapter 2")


@pytest.mark.parametrize("seed", ["seven", "-1", "1.5", "99999999999", "9" * 5000])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(StorygenError, match="seed is"):
        config_of("greedy", *DEFAULTS, 50, seed)


def test_text_of_users_stays_text():
    assert plain("<b>*x*</b> it's, ok") == "&#60;b&#62;&#42;x&#42;&#60;&#47;b&#62; it's, ok"


def test_the_tab_shows_what_the_writer_writes(model_folders):
    writers = {"lstm": storygen.load(model_folders / "lstm")}
    updates = list(write_story(writers, "The Fox", "Once upon", "lstm", "top_p", *DEFAULTS, 30, "7"))
    expected = writers["lstm"].generate("Once upon", "The Fox", GenerationConfig(max_new_tokens=30, seed=7))
    assert updates[-1][0] == expected.story
    assert "seed 7" in updates[-1][1]
    assert all(text.startswith("Once upon") for text, _, _ in updates)
    assert updates[-1][2].seed == 7


def test_paced_shows_the_first_and_the_last():
    """The last piece of a story must not be swallowed because it came too soon after another."""
    assert list(paced(range(100), seconds=60)) == [0, 99]
    assert list(paced(range(5), seconds=0)) == [0, 1, 2, 3, 4]
    assert list(paced([], seconds=60)) == []
    assert list(paced([1], seconds=60)) == [1]
