"""The Write tab: a title, an opening line, a model and a strategy, and a story that streams in."""

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from storygen.config import MAX_OPENING, MAX_TITLE
from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.ui.events import QUIET, warn
from storygen.ui.markdown import plain
from storygen.ui.settings import build_settings, config_of
from storygen.ui.stream import paced
from storygen.writer import Result, Writer

SHOW_STORY = "() => document.querySelector('#story').scrollIntoView({block: 'nearest'})"
"""On a phone the story is below the settings."""
ENDINGS = {
    "end": "the story came to its end",
    "stop": "ended before a stop text",
    "length": "stopped at the chosen length",
    "context": "stopped where the model can read no further",
    "exhausted": "stopped where the settings left no word to choose from",
}


def write_story(
    writers: Mapping[str, Writer], title: str, opening: str, model: str, *settings: Any
) -> Iterator[tuple[str, str]]:
    """The story so far and the status line, a few times a second. Settings are as `config_of` takes them."""
    writer = writers[model]
    stream = writer.stream(opening or "", title or "", config_of(*settings))
    try:
        yield from ((text, "Writing ...") for text in paced(growing(stream, stream.opening)))
    finally:
        stream.close()
    yield stream.result.story, describe(stream.result)


def growing(pieces: Iterator[str], text: str) -> Iterator[str]:
    """The text so far, after each piece."""
    for piece in pieces:
        text += piece
        yield text


def describe(result: Result) -> str:
    """The status line under a finished story."""
    speed = f"{len(result.logprobs)} tokens in {result.seconds:.1f} s"
    parts = [ENDINGS[result.finish_reason].capitalize(), f"seed {result.seed}", speed, *result.notes]
    return plain(" · ".join(parts))


def build_write_tab(writers: Mapping[str, Writer]) -> None:
    """Places the tab's widgets and wires them."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            title = gr.Textbox(
                label="Title, idea or keywords",
                placeholder="The Fox and the Moon",
                max_length=MAX_TITLE,
                elem_id="title",
            )
            opening = gr.Textbox(
                label="Opening line", placeholder="Once upon a time", lines=2, max_length=MAX_OPENING, elem_id="opening"
            )
            with gr.Row():
                go = gr.Button("Write a story", variant="primary", min_width=120, elem_id="write")
                stop = gr.Button("Stop", interactive=False, min_width=80, elem_id="stop-button")
            with gr.Accordion("Model and decoding", open=True):
                model = gr.Dropdown(list(writers), value=next(iter(writers)), label="Model", elem_id="model")
                settings = build_settings()
        with gr.Column(scale=3, min_width=320):
            story = gr.Textbox(
                label="Story",
                lines=16,
                max_lines=30,
                interactive=False,
                buttons=["copy"],
                placeholder="Give a title or an opening line, or nothing at all, and press Write.",
                elem_id="story",
                elem_classes="story",
            )
            status = gr.Markdown(elem_classes="hint", elem_id="status")

    def stream(*values: Any) -> Iterator[tuple[Any, Any]]:
        try:
            yield from write_story(writers, *values)
        except StorygenError as error:
            warn(error)
            yield gr.skip(), plain(f"Nothing was written: {error}")

    begin = go.click(
        lambda: (gr.update(interactive=False), gr.update(interactive=True), "", "Waiting for the model ..."),
        None,
        [go, stop, story, status],
        queue=False,
        **QUIET,
    )
    go.click(None, js=SHOW_STORY, api_visibility="private")
    writing = begin.then(
        stream,
        [title, opening, model, *settings.inputs],
        [story, status],
        concurrency_id="generate",
        concurrency_limit=MAX_ROWS,
        **QUIET,
    )
    writing.then(_idle, None, [go, stop], queue=False, **QUIET)
    stop.click(lambda: (*_idle(), "Stopped."), None, [go, stop, status], cancels=[writing], queue=False, **QUIET)


def _idle() -> tuple[Any, Any]:
    return gr.update(interactive=True), gr.update(interactive=False)
