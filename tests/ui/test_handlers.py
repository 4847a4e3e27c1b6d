"""What the page's events call, without a browser."""

import dataclasses
import shutil
from contextlib import ExitStack, closing

import pytest

import storygen
from storygen.artifact import INDEX
from storygen.config import MODIFIERS, STRATEGIES, GenerationConfig
from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.evaluation.memorisation import build_index
from storygen.ui.compare import place_of_next
from storygen.ui.drafts import draft_cards, message_html, status_html
from storygen.ui.markdown import plain
from storygen.ui.settings import PRESETS, TUNABLE, config_of, offered, values_of
from storygen.ui.stream import paced, progress
from storygen.ui.texts import TEXTS
from storygen.ui.write import write_story

DEFAULTS = ["" if name == "stop" else getattr(GenerationConfig(), name) for name in (*TUNABLE, *MODIFIERS)]


def test_every_strategy_is_explained():
    """The dropdown is the registry: a strategy without a label would crash the page."""
    needed = {f"strategy.{name}{what}" for name in STRATEGIES for what in ("", ".says")}
    assert needed | {f"label.{name}" for name in (*TUNABLE, *MODIFIERS)} <= TEXTS["en"].keys()


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
    assert updates[-1][1].seed == 7
    assert "seed 7" in status_html(updates[-1][1])
    assert all(text.startswith("Once upon") for text, _ in updates)


def test_paced_shows_the_first_word_and_the_last():
    """A pause after a comma would delay the first word; the last words must not be swallowed by the pause before."""
    growth = ["", ",", ", a", ", a fox", ", a fox ran"]
    assert list(paced(growth, between=60, waiting=60)) == [", a", ", a fox ran"]
    assert list(paced(growth, between=0, waiting=0)) == growth
    assert list(paced(growth, between=60, waiting=0)) == ["", ",", ", a", ", a fox ran"]
    assert list(paced(["", ""], between=60, waiting=60)) == [""]
    assert list(paced([], between=60, waiting=60)) == []


def test_who_waits_is_told_the_place():
    assert [progress(ahead) for ahead in (2, 1, 0, None)] == [
        "2 stories are written before yours.",
        "One story is written before yours.",
        "Yours is the next story to be written.",
        "Writing ...",
    ]


def test_a_round_that_has_to_wait_tells_the_place(model_folders):
    """Two stories that wait for sixteen others looked as if they were being written."""
    writers = {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}
    assert place_of_next(writers) == ""
    endless = GenerationConfig(strategy="greedy", max_new_tokens=2000, min_new_tokens=2000)
    with ExitStack() as others:
        for _ in range(MAX_ROWS + 2):
            others.enter_context(closing(writers["lstm"].stream("Once", config=endless)))
        assert place_of_next(writers).endswith("are written before yours.")


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), GenerationConfig(strategy="beam", stop=("a", "b"), seed=3, full_sentence=True)],
)
def test_settings_go_to_the_widgets_and_back(config):
    """A link or a preset that sets a slider to another field's value writes another story."""
    assert config_of(*values_of(config)) == config


def test_what_is_told_below_a_story_is_text(model_folders):
    writer = storygen.load(model_folders / "lstm")
    result = writer.generate("<b>Once</b>", "<i>", GenerationConfig(max_new_tokens=5, seed=7))
    page = status_html(result) + draft_cards([result, result])
    assert "<b>" not in page and "<i>" not in page
    assert "&lt;b&gt;Once" in page and "title=%3Ci%3E" in page
    assert message_html("<b>") == "<p>&lt;b&gt;</p>"


def test_what_was_copied_stands_with_the_figures_if_the_model_has_an_index(model_folders, tmp_path):
    shutil.copytree(model_folders / "lstm", tmp_path / "lstm")
    writer = storygen.load(tmp_path / "lstm")
    result = writer.generate(config=GenerationConfig(max_new_tokens=5, seed=7))
    result = dataclasses.replace(result, text="one two three four five six seven eight nine ten")
    assert "eight" not in status_html(result, writer.artifact.folder)
    shutil.copytree(model_folders / "lstm", tmp_path / "other")
    build_index(["zero one two three four five six seven eight nine."]).save(tmp_path / "other" / INDEX)
    told = status_html(result, storygen.load(tmp_path / "other").artifact.folder)
    figures = told[told.index("<details>") :]
    assert "66.7% of its runs of eight words" in figures
    assert "9 words, “one two three four five six seven eight nine”" in figures
    unseen = dataclasses.replace(result, text="all of this is new and of its own making")
    assert "None of its runs" in status_html(unseen, tmp_path / "other")


def test_best_of_n_is_offered_only_where_it_can_be_had(model_folders, tmp_path):
    """Without a reward model every use of it would be refused."""
    rich, poor = storygen.load(model_folders / "lstm"), storygen.load("checkpoints/char-lstm")
    assert offered([poor, rich]) == list(STRATEGIES)
    assert offered([poor]) == [name for name in STRATEGIES if name != "best_of_n"]
