"""What the How-it-works tab shows, without a browser."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
import torch

import storygen
from storygen.artifact import Artifact
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.lesson.attention import attention_maps
from storygen.lesson.next_word import SAMPLED, drawn_from, next_logprobs
from storygen.lesson.tokens import label, small_tokenizer
from storygen.models import build_model
from storygen.tokenizers import KINDS as TOKENIZERS
from storygen.ui.charts import lines
from storygen.ui.lesson_charts import LINE, apart
from storygen.ui.lesson_views import LOOKING, MAX_TEXT, SLIDERS, Lesson
from storygen.ui.texts import TEXTS
from storygen.writer import Writer
from tests.conftest import lively, tiny_config

TEXT = "Once upon a time"
DEFAULTS = [getattr(GenerationConfig(), name) for name in SLIDERS]


def well_formed(text):
    return ET.fromstring(f"<div>{text}</div>")


def text_of(element):
    return "".join(element.itertext())


@pytest.fixture(scope="module")
def writers(model_folders):
    return {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}


@pytest.fixture(scope="module")
def lesson(writers):
    return Lesson(writers)


def test_every_slider_and_kind_of_tokenizer_has_words():
    assert {*(f"label.{name}" for name in SLIDERS), *(f"how.kind.{kind}" for kind in TOKENIZERS)} <= TEXTS["en"].keys()


@pytest.mark.parametrize("text", [TEXT, "", "<b>&\n🐉\ud800", "x " * 500])
def test_all_views_are_well_formed_whatever_is_typed(lesson, text):
    for model in ("transformer", "lstm"):
        well_formed(lesson.tokens(text))
        well_formed(lesson.neighbours(model, text))
        well_formed(lesson.word_map(model))
        well_formed(lesson.attention(model, text, 1, 1))
        for strategy in SAMPLED:
            well_formed(lesson.choice(model, text, strategy, *DEFAULTS))


def test_cards_show_the_ids_of_each_tokenizer(lesson, writers):
    first, *others = well_formed(lesson.tokens(TEXT)).iter("section")
    ids = [int(small.text) for chip in first.iter("li") for small in chip.iter("small")]
    assert ids == writers["lstm"].tokenizer.encode(TEXT)
    assert "used by transformer, lstm" in text_of(first)
    assert len(others) == 3


def test_the_map_of_attention_has_the_models_numbers(lesson, writers):
    writer = writers["transformer"]
    tokens, _ = writer.prompt_tokens(TEXT, "")
    expected = attention_maps(writer.model, tokens)[1, 2]
    shown = well_formed(lesson.attention("transformer", TEXT, 2, 3))
    rows = list(shown.find(".//tbody"))
    for row, weights in zip(rows, expected.tolist(), strict=True):
        shares = [text_of(cell) for cell in row.iter("td")]
        assert [share for share in shares if share] == [f"{weight:.0%}" for weight in weights[: rows.index(row) + 1]]
    assert text_of(rows[0]).startswith("⟨story⟩")


def test_a_long_text_shows_its_end(lesson, writers):
    shown = well_formed(lesson.attention("transformer", "the fox " * 40, 1, 1))
    assert len(list(shown.find(".//tbody"))) == LOOKING
    assert "Only the last" in text_of(shown)


def test_an_lstm_says_why_it_has_no_map(lesson):
    assert lesson.heads("lstm") == (0, 0)
    assert lesson.heads("transformer") == (2, 4)
    shown = lesson.attention("lstm", TEXT, None, None)
    assert "lstm is an LSTM" in shown
    assert "128 numbers" in shown  # hidden state and cell of two layers of 32


def test_a_layer_of_the_model_before_is_no_error(lesson):
    assert "Layer 2, head 4" in lesson.attention("transformer", TEXT, 9, 9)
    assert "Layer 1, head 1" in lesson.attention("transformer", TEXT, None, None)


def test_bars_show_what_is_drawn_and_what_is_cut(lesson, writers):
    writer, values = writers["transformer"], dict(zip(SLIDERS, DEFAULTS, strict=True)) | {"top_k": 3}
    config = GenerationConfig(strategy="top_k", top_k=3)
    logprobs = next_logprobs(writer.model, writer.prompt_tokens(TEXT, "")[0])
    after, best = drawn_from(logprobs, config), logprobs.topk(15).indices.tolist()
    rows = list(well_formed(lesson.choice("transformer", TEXT, "top_k", *values.values())).find(".//tbody"))
    assert [row.get("class") for row in rows] == ["kept"] * 3 + ["cut"] * 12 + ["others"]
    for row, token in zip(rows, best, strict=False):
        cells = [text_of(cell) for cell in row]
        assert (cells[0], cells[2]) == (label(writer.tokenizer, token), f"{logprobs[token].exp():.1%}")
        assert cells[3] == (f"{after[token]:.1%}" if after[token] > 0 else "cut")


def test_a_drawn_token_goes_to_the_end_of_the_text(lesson, writers):
    greedy = ("greedy", *DEFAULTS)
    token = int(next_logprobs(writers["lstm"].model, writers["lstm"].prompt_tokens(TEXT, "")[0]).argmax())
    grown, says = lesson.draw("lstm", TEXT + " ", *greedy)
    assert grown == TEXT + writers["lstm"].tokenizer.decode([token])
    assert label(writers["lstm"].tokenizer, token) in says
    full = "x" * MAX_TEXT
    assert lesson.draw("lstm", full, *greedy)[0] == full


def test_a_model_of_letters_can_go_on_after_a_space(writers, monkeypatch):
    """A space that was drawn, and then left out as one that somebody typed, would be drawn for ever."""
    tokenizer = small_tokenizer("char")
    model = lively(build_model(tiny_config("lstm", tokenizer.vocab_size)))
    lesson = Lesson({"char": Writer(Artifact(model, tokenizer, "char"))})
    monkeypatch.setattr("storygen.ui.lesson_views.draw_token", lambda *_: tokenizer.encode(" ")[0])
    assert lesson.draw("char", "a ", "greedy", *DEFAULTS)[0] == "a  "
    assert lesson.choice("char", "a", "sample", *DEFAULTS) != lesson.choice("char", "a ", "sample", *DEFAULTS)
    assert "vowels" in lesson.word_map("char")


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_looking_while_a_story_is_written_does_not_change_the_story(name, lesson, writers):
    """The attention map switches the model to its written-out path and hooks into it: never in the middle of a step."""
    config = GenerationConfig(strategy="sample", temperature=1.0, max_new_tokens=60, seed=3)
    alone = writers[name].generate(TEXT, config=config)
    stream = writers[name].stream(TEXT, config=config)
    views = []
    for _ in stream:
        views.append((lesson.attention(name, TEXT, 1, 1), lesson.choice(name, TEXT, "top_p", *DEFAULTS)))
    assert stream.result.logprobs == alone.logprobs
    assert stream.result.tokens == alone.tokens
    assert len(set(views)) == 1


def test_an_end_that_is_drawn_leaves_the_text(lesson, writers, monkeypatch):
    certain = torch.full((writers["lstm"].tokenizer.vocab_size,), -20.0)
    certain[-1] = 0.0
    monkeypatch.setattr("storygen.ui.lesson_views.next_logprobs", lambda *_: certain)
    text, says = lesson.draw("lstm", TEXT, "greedy", *DEFAULTS)
    assert text == TEXT
    assert "end its story" in says


def test_a_setting_out_of_bounds_is_refused(lesson):
    with pytest.raises(StorygenError, match=r"temperature is 9\.0"):
        lesson.choice("lstm", TEXT, "sample", 9.0, *DEFAULTS[1:])


def test_models_without_a_record_say_so(lesson):
    assert "No training curve" in lesson.learning()
    assert "Nothing was measured" in lesson.figures()
    assert "not recorded" in lesson.reading()
    for view in (lesson.learning(), lesson.figures(), lesson.reading()):
        well_formed(view)


def test_recorded_curves_and_figures_are_drawn(writers):
    kept = {
        "curve": {"loss": [[0, 5.0], [2_000_000, 3.0]], "valid_bits_per_byte": [[1_000_000, 2.0], [2_000_000, 1.5]]},
        "metrics": {
            "evaluation": {
                "likelihood": {
                    "method": "By `hand` & eye.",
                    "texts": {"tales.valid.jsonl.gz": {"bits_per_byte": 1.5}},
                }
            }
        },
        "corpus": {"about": "Tales <of old>."},
    }
    writers["lstm"].artifact.training.update(kept)
    try:
        lesson = Lesson(writers)
        assert len(list(well_formed(lesson.learning()).iter("polyline"))) == 2
        assert "lstm, at the end 1.50" in lesson.learning()
        figures = well_formed(lesson.figures())
        assert [text_of(cell) for cell in list(figures.iter("tr"))[-1]] == ["bits per byte: tales", "–", "1.500"]
        assert "lstm: By hand & eye." in text_of(figures)
        assert "Tales <of old>." in text_of(well_formed(lesson.reading()))
    finally:
        for name in kept:
            del writers["lstm"].artifact.training[name]


@pytest.mark.parametrize("values", [(2.0,), (1.5, 1.5), (7.9, 1.1), (1e-9, 3e9), (0.0, -4.0)])
def test_any_curve_can_be_drawn_inside_its_axes(values):
    figure = well_formed(lines({"a": list(enumerate(values)), "none": []}, "Title", "tokens", "loss"))
    [curve] = figure.iter("polyline")
    for point in curve.get("points").split():
        x, y = map(float, point.split(","))
        assert 64 <= x <= 616
        assert 16 <= y <= 226
    assert 2 <= len([line for line in figure.iter("line") if line.get("class") == "grid"]) <= 7
    assert lines({"none": []}, "Title", "tokens", "loss") == ""


def test_words_that_would_cover_each_other_are_moved_apart():
    words = [("fox", 0.5, 0.5), ("wolf", 0.5, 0.51), ("bear", 0.51, 0.5), ("sea", 0.9, 0.5)]
    placed = apart(words)
    assert [(word, x) for word, x, _ in placed] == [(word, x) for word, x, _ in words]
    heights = sorted(y for word, _, y in placed if word != "sea")
    assert min(high - low for low, high in itertools.pairwise(heights)) > 0.0449
    assert placed[3] == words[3]  # nothing is near it
    crowd = apart([("x", 0.5, 0.3)] * 12)
    assert min(y for _, _, y in crowd) == pytest.approx(LINE)
    assert max(y for _, _, y in crowd) == 0.3


def test_what_a_user_or_a_vocabulary_holds_stays_text(lesson, writers, monkeypatch):
    """A token that is a tag, or begins one, would otherwise change the page."""
    assert not re.search("<(script|img)", lesson.tokens("<script>alert(1)</script><img src=x>"))
    less = writers["lstm"].tokenizer.encode("<")[0]
    monkeypatch.setattr("storygen.ui.lesson_views.draw_token", lambda *_: less)
    assert lesson.draw("lstm", TEXT, "greedy", *DEFAULTS) == (TEXT + "<", "Drawn: &lt;")
