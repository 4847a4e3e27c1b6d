"""The How-it-works tab: one guess of a model followed from a text to the next word."""

import typing
from collections.abc import Mapping
from typing import Any

import gradio as gr

from storygen.config import STRATEGIES, GenerationConfig, field_of
from storygen.lesson.next_word import SAMPLED
from storygen.ui.events import QUIET
from storygen.ui.lesson_charts import heading
from storygen.ui.lesson_style import CSS
from storygen.ui.lesson_views import MAX_TEXT, SLIDERS, Lesson
from storygen.ui.texts import fixed, say
from storygen.writer import Writer

__all__ = ["CSS", "build_how_tab"]

LIVE = {**QUIET, "queue": False, "trigger_mode": "always_last"}
"""Options of an event that follows typing or a slider: while one is under way only the newest waits."""
OPENING, WORD = "Once upon a time, a little fox looked at the", "king"
EXAMPLES = {
    "beginning": OPENING,
    "hard": "The café-owner’s dragon 🐉 said: “Brrrh!”",
    "sure": "Once upon",
}
"""Texts of the buttons that fill one in; in English, as the models are."""


def steps(language: str) -> dict[str, str]:
    """The headings of the steps in a language, as HTML, by the keys by which `fixed` has the browser show them."""
    named = ("how.nearness", "how.attention.formula", "how.learning.formula")
    nearness, attention, loss = (say(key, language) for key in named)
    choice = "p(i) = e<sup>zᵢ ⁄ T</sup> ⁄ Σⱼ e<sup>zⱼ ⁄ T</sup>"
    headings = (
        heading(1, "how.tokens", language),
        heading(2, "how.meaning", language, nearness, "how.nearness.says"),
        heading(3, "how.attention", language, attention, "how.attention.formula.says"),
        heading(4, "how.choice", language, choice, "how.choice.formula.says"),
        heading(5, "how.learning", language, loss, "how.learning.formula.says"),
        heading(6, "how.figures", language),
        heading(7, "how.limits", language),
    )
    return {f"how.step.{place}": made for place, made in enumerate(headings, 1)}


def build_how_tab(writers: Mapping[str, Writer], tab: gr.Tab) -> None:
    """Places the tab's widgets and wires them. Nothing is computed before the tab is opened."""
    lesson, first, start = Lesson(writers), next(iter(writers)), GenerationConfig()
    with gr.Column(elem_classes="lesson", elem_id="how"):
        _prose(f'<p class="says">{fixed("how.intro")}</p>')
        model = gr.Radio(list(writers), value=first, label=fixed("model"), elem_id="how-model")
        text = gr.Textbox(
            OPENING,
            label=fixed("how.text"),
            lines=2,
            max_length=MAX_TEXT,
            elem_id="how-text",
            elem_classes="story",
        )
        with gr.Row(elem_classes="examples"):
            examples = [gr.Button(fixed(f"how.example.{name}"), size="sm") for name in EXAMPLES]

        _prose(fixed("how.step.1"))
        tokens = _picture("tokens")

        _prose(fixed("how.step.2"))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                word = gr.Textbox(WORD, label=fixed("how.word"), max_length=40, elem_id="how-word")
                neighbours = _picture("neighbours")
            with gr.Column(scale=3, min_width=320):
                word_map = _picture("map")

        _prose(fixed("how.step.3"))
        layers, heads = lesson.heads(first)
        with gr.Row():
            layer, head = (_counted(name, count) for name, count in (("layer", layers), ("head", heads)))
        attention = _picture("attention")

        _prose(fixed("how.step.4"))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                names = [(fixed(f"strategy.{name}"), name) for name in SAMPLED]
                strategy = gr.Radio(names, value=start.strategy, label=fixed("strategy"), elem_id="how-strategy")
                explanation = gr.Markdown(fixed(f"strategy.{start.strategy}.says"), elem_classes="hint")
                sliders = [_slider(name, visible=name in start.settings) for name in SLIDERS]
                draw = gr.Button(fixed("how.draw"), variant="primary", elem_id="how-draw")
                drawn = gr.HTML(elem_id="how-drawn", elem_classes="hint", padding=False)
            with gr.Column(scale=3, min_width=320):
                choice = _picture("choice")
        _prose(f'<p class="says">{fixed("how.and_again")}</p>')

        _prose(fixed("how.step.5"))
        learning = _picture("learning")
        _prose(fixed("how.step.6"))
        figures = _picture("figures")
        _prose(fixed("how.step.7"))
        reading = _picture("reading")

    choosing = [strategy, *sliders]
    of_text = [tokens, attention, choice]
    of_model = [neighbours, word_map]
    of_record = [learning, figures, reading]
    inputs = [model, text, word, layer, head, *choosing]

    def show_text(chosen: str, text: str, _: str, layer: int, head: int, *settings: Any) -> list[str]:
        seen = lesson.attention(chosen, text, layer, head)
        return [lesson.tokens(text), seen, lesson.choice(chosen, text, *settings)]

    def show_model(chosen: str, text: str, word: str, *others: Any) -> list[str]:
        return [*show_text(chosen, text, word, *others), lesson.neighbours(chosen, word), lesson.word_map(chosen)]

    def show_all(*values: Any) -> list[str]:
        return [*show_model(*values), lesson.learning(), lesson.figures(), lesson.reading()]

    def show_heads(chosen: str, layer: int, head: int) -> list[Any]:
        counts = lesson.heads(chosen)
        return [_choices(count, value) for count, value in zip(counts, (layer, head), strict=True)]

    def show_sliders(chosen: str) -> list[Any]:
        return [fixed(f"strategy.{chosen}.says"), *(gr.update(visible=name in STRATEGIES[chosen]) for name in SLIDERS)]

    tab.select(show_all, inputs, [*of_text, *of_model, *of_record], queue=False, **QUIET)
    model.change(show_model, inputs, [*of_text, *of_model], **LIVE)
    model.change(show_heads, [model, layer, head], [layer, head], **LIVE)
    text.change(show_text, inputs, of_text, **LIVE)
    word.change(lesson.neighbours, [model, word], neighbours, **LIVE)
    gr.on([layer.input, head.input], lesson.attention, [model, text, layer, head], attention, **LIVE)
    gr.on([each.change for each in choosing], lesson.choice, [model, text, *choosing], choice, **LIVE)
    strategy.change(show_sliders, strategy, [explanation, *sliders], **LIVE)
    draw.click(lesson.draw, [model, text, *choosing], [text, drawn], queue=False, **QUIET)
    for button, example in zip(examples, EXAMPLES.values(), strict=True):
        button.click(lambda example=example: example, None, text, queue=False, **QUIET)


def _prose(content: str) -> gr.HTML:
    return gr.HTML(content, padding=False)


def _picture(name: str) -> gr.HTML:
    return gr.HTML(f'<p class="hint">{fixed("moment")}</p>', elem_id=f"how-{name}", padding=False)


def _counted(name: str, count: int) -> gr.Radio:
    """One of so many, counted from 1; hidden if there is none."""
    numbers = range(1, count + 1)
    return gr.Radio(
        [(str(number), number) for number in numbers],
        value=1 if count else None,
        label=fixed(name),
        visible=count > 0,
        elem_id=f"how-{name}",
    )


def _choices(count: int, value: int | None) -> Any:
    """The update that offers so many, and keeps the value if it is among them."""
    choices = [(str(number), number) for number in range(1, count + 1)]
    return gr.update(choices=choices, value=min(value or 1, count) or None, visible=count > 0)


def _slider(name: str, visible: bool) -> gr.Slider:
    field = field_of(GenerationConfig, name)
    low, high = field.metadata["low"], field.metadata["high"]
    step = 1 if typing.get_type_hints(GenerationConfig)[name] is int else 0.01
    return gr.Slider(
        low, high, value=field.default, step=step, label=fixed(f"label.{name}"), visible=visible, elem_id=f"how-{name}"
    )
