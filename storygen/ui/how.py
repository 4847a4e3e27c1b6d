"""The How-it-works tab: one guess of a model followed from a text to the next word."""

import typing
from collections.abc import Mapping
from typing import Any

import gradio as gr

from storygen.config import STRATEGIES, GenerationConfig, field_of
from storygen.lesson.next_word import SAMPLED
from storygen.ui import lesson_text as say
from storygen.ui.events import QUIET
from storygen.ui.lesson_charts import heading
from storygen.ui.lesson_style import CSS
from storygen.ui.lesson_views import MAX_TEXT, SLIDERS, Lesson
from storygen.ui.settings import EXPLANATIONS
from storygen.writer import Writer

__all__ = ["CSS", "build_how_tab"]

LIVE = {**QUIET, "queue": False, "trigger_mode": "always_last"}
"""Options of an event that follows typing or a slider: while one is under way only the newest waits."""


def build_how_tab(writers: Mapping[str, Writer], tab: gr.Tab) -> None:
    """Places the tab's widgets and wires them. Nothing is computed before the tab is opened."""
    lesson, first, start = Lesson(writers), next(iter(writers)), GenerationConfig()
    with gr.Column(elem_classes="lesson", elem_id="how"):
        _prose(f'<p class="says">{say.INTRO}</p>')
        model = gr.Radio(list(writers), value=first, label=say.LABELS["model"], elem_id="how-model")
        text = gr.Textbox(
            say.OPENING,
            label=say.LABELS["text"],
            lines=2,
            max_length=MAX_TEXT,
            elem_id="how-text",
            elem_classes="story",
        )
        with gr.Row(elem_classes="examples"):
            examples = [gr.Button(name, size="sm") for name in say.EXAMPLES]

        _prose(heading(1, say.TOKENS))
        tokens = _picture("tokens")

        _prose(heading(2, say.MEANING, say.NEARNESS, say.NEARNESS_SAYS))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                word = gr.Textbox(say.WORD, label=say.LABELS["word"], max_length=40, elem_id="how-word")
                neighbours = _picture("neighbours")
            with gr.Column(scale=3, min_width=320):
                word_map = _picture("map")

        _prose(heading(3, say.ATTENTION, say.ATTENTION_FORMULA, say.ATTENTION_FORMULA_SAYS))
        layers, heads = lesson.heads(first)
        with gr.Row():
            layer, head = (_counted(name, count) for name, count in (("layer", layers), ("head", heads)))
        attention = _picture("attention")

        _prose(heading(4, say.CHOICE, say.CHOICE_FORMULA, say.CHOICE_FORMULA_SAYS))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                names = [(EXPLANATIONS[name][0], name) for name in SAMPLED]
                strategy = gr.Radio(names, value=start.strategy, label=say.LABELS["strategy"], elem_id="how-strategy")
                explanation = gr.Markdown(EXPLANATIONS[start.strategy][1], elem_classes="hint")
                sliders = [_slider(name, visible=name in start.settings) for name in SLIDERS]
                draw = gr.Button(say.LABELS["draw"], variant="primary", elem_id="how-draw")
                drawn = gr.HTML(elem_id="how-drawn", elem_classes="hint", padding=False)
            with gr.Column(scale=3, min_width=320):
                choice = _picture("choice")
        _prose(f'<p class="says">{say.AND_AGAIN}</p>')

        _prose(heading(5, say.LEARNING, say.LEARNING_FORMULA, say.LEARNING_FORMULA_SAYS))
        learning = _picture("learning")
        _prose(heading(6, say.FIGURES))
        figures = _picture("figures")
        _prose(heading(7, say.LIMITS))
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
        return [EXPLANATIONS[chosen][1], *(gr.update(visible=name in STRATEGIES[chosen]) for name in SLIDERS)]

    tab.select(show_all, inputs, [*of_text, *of_model, *of_record], queue=False, **QUIET)
    model.change(show_model, inputs, [*of_text, *of_model], **LIVE)
    model.change(show_heads, [model, layer, head], [layer, head], **LIVE)
    text.change(show_text, inputs, of_text, **LIVE)
    word.change(lesson.neighbours, [model, word], neighbours, **LIVE)
    gr.on([layer.input, head.input], lesson.attention, [model, text, layer, head], attention, **LIVE)
    gr.on([each.change for each in choosing], lesson.choice, [model, text, *choosing], choice, **LIVE)
    strategy.change(show_sliders, strategy, [explanation, *sliders], **LIVE)
    draw.click(lesson.draw, [model, text, *choosing], [text, drawn], queue=False, **QUIET)
    for button, example in zip(examples, say.EXAMPLES.values(), strict=True):
        button.click(lambda example=example: example, None, text, queue=False, **QUIET)


def _prose(content: str) -> gr.HTML:
    return gr.HTML(content, padding=False)


def _picture(name: str) -> gr.HTML:
    return gr.HTML(f'<p class="hint">{say.LOADING}</p>', elem_id=f"how-{name}", padding=False)


def _counted(name: str, count: int) -> gr.Radio:
    """One of so many, counted from 1; hidden if there is none."""
    numbers = range(1, count + 1)
    return gr.Radio(
        [(str(number), number) for number in numbers],
        value=1 if count else None,
        label=say.LABELS[name],
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
        low, high, value=field.default, step=step, label=say.LABELS[name], visible=visible, elem_id=f"how-{name}"
    )
