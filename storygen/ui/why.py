"""The Why tab: click a word of the last story to see what the model thought, and pick what else it should have been."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.explain import Branches, beam_tree
from storygen.models.transformer import Transformer
from storygen.ui.events import QUIET, WRITING, warn
from storygen.ui.stream import Pen, growing
from storygen.ui.texts import fixed, say
from storygen.ui.why_html import beams_html, branches_html, empty_html, token_name, waiting_html, writing_html
from storygen.ui.why_look import BRANCHES_JS, PANEL_JS, STORY_JS
from storygen.ui.why_view import View, hint_html, pick, shown_inside, shown_step, shown_story, view_of
from storygen.writer import Result, Writer

EXAMPLE = "Once upon a time"
"""The opening of the story that the tab can have written by itself."""


def build_why_tab(writers: Mapping[str, Writer], written: gr.State, tab: gr.Tab) -> None:
    """Places the tab's widgets and wires them; `written` holds the Result of the last story, or None."""
    gr.Markdown(fixed("why.introduction"), elem_classes="hint")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            story = gr.HTML(js_on_load=STORY_JS, apply_default_css=False, elem_id="why-story")
        with gr.Column(scale=2, min_width=320, elem_id="why-side"):
            panel = gr.HTML("", js_on_load=PANEL_JS, apply_default_css=False, elem_id="why-panel")
    with gr.Accordion(fixed("why.branches"), open=True, visible=False) as branches_box:
        tree = gr.HTML(js_on_load=BRANCHES_JS, apply_default_css=False, elem_id="why-branches")
    with gr.Accordion(fixed("beams"), open=False, visible=False) as beams_box:
        beams = gr.HTML(apply_default_css=False, elem_id="why-beams")
    with gr.Accordion(fixed("why.inside.transformer"), open=False, visible=False, elem_id="why-inside") as inside_box:
        with gr.Row(visible=False) as heads_row:
            layer = gr.Dropdown(
                [(fixed("why.layers"), 0)], value=0, label=fixed("layer"), min_width=120, elem_id="why-layer"
            )
            head = gr.Dropdown(
                [(fixed("why.heads"), 0)], value=0, label=fixed("head"), min_width=120, elem_id="why-head"
            )
        inside = gr.HTML(apply_default_css=False, elem_id="why-inside-html")
    view, looks_inside, pen = gr.State(None), gr.State(False), gr.State(Pen())
    outputs = [view, story, panel, tree, branches_box, beams, beams_box]
    boxes = [inside_box, heads_row, layer, head]

    def writer_of(view: View) -> Writer:
        return writers[view.result.model]

    def shown(view: View | None) -> tuple[Any, ...]:
        """The values of `outputs`."""
        hidden = gr.update(visible=False)
        if view is None:
            return None, empty_html(), "", "", hidden, "", hidden
        writer, candidates = writer_of(view), view.result.candidates
        walk = gr.update(visible=len(view.branches.nodes) > 1)
        found = beams_html(beam_tree(candidates, writer.tokenizer), candidates) if candidates else ""
        tree = branches_html(view.branches, view.texts)
        page, step = shown_story(writer, view), shown_step(writer, view)
        return view, page, step, tree, walk, found, gr.update(visible=bool(candidates))

    def shown_boxes(view: View | None) -> tuple[Any, ...]:
        """The values of `boxes`."""
        if view is None:
            return tuple(gr.skip() for _ in boxes)
        model = writer_of(view).model
        attends = isinstance(model, Transformer)
        counts = {"layer": model.config.num_layers, "head": getattr(model.config, "num_heads", 0)}
        numbers = [
            gr.update(
                value=0, choices=[(say(f"why.{name}s"), 0), *((f"{say(name)} {i + 1}", i + 1) for i in range(count))]
            )
            for name, count in counts.items()
        ]
        label = say("why.inside.transformer" if attends else "why.inside.lstm")
        return gr.update(visible=True, label=label), gr.update(visible=attends), *numbers

    def load(result: Result | None, view: View | None, pen: Pen) -> tuple[Any, ...]:
        """The last story if it is a new one, else what was there."""
        if pen.writes:
            return tuple(gr.skip() for _ in (*outputs, *boxes))
        try:
            is_known = result is not None and result.tokens and result.model in writers  # another runs elsewhere
            if is_known and (view is None or view.branches.root != result):
                view = view_of(writers[result.model], Branches.of(result))
        except StorygenError as error:
            warn(error)
        return *shown(view), *shown_boxes(view)

    def begin(pen: Pen) -> Iterator[tuple[Any, ...]]:
        """Writes a story here."""
        writer = next(iter(writers.values()))
        rest = [gr.skip()] * (len(outputs) - 2 + len(boxes))
        pen.writes = True
        try:
            stream = writer.stream(EXAMPLE)
            for text in growing(stream):
                yield gr.skip(), writing_html(EXAMPLE, "", "", text, stream.ahead), *rest
            view = view_of(writer, Branches.of(stream.result))
            yield *shown(view), *shown_boxes(view)
        except StorygenError as error:
            warn(error)
            yield *shown(None), *shown_boxes(None)
        finally:
            pen.writes = False

    def close(view: View | None) -> tuple[Any, ...]:
        return shown(replace(view, selected=None) if view else None)

    def select(view: View | None, event: gr.EventData) -> tuple[Any, ...]:
        at = _number(event, "token", len(view.steps) if view else 0)
        if at is None:
            return gr.skip(), gr.skip()
        view = replace(view, selected=at)
        return view, shown_step(writer_of(view), view)

    def branch(view: View | None, pen: Pen, event: gr.EventData) -> Iterator[tuple[Any, ...]]:
        """Continues with the picked alternative."""
        if view is None or view.selected is None or pen.writes:
            return
        writer, unchanged = writer_of(view), [gr.skip()] * (len(outputs) - 3)
        token = _number(event, "token", writer.tokenizer.vocab_size)
        name = token_name(writer.tokenizer, token, writer.tokenizer.decode([token])) if token is not None else ""
        pen.writes, pen.stops = True, False
        try:
            with closing(pick(writer, view, token)) as pages:
                for page, grown in pages:
                    if pen.stops:
                        break
                    if grown is None:
                        yield gr.skip(), page, waiting_html(name), *unchanged
                    else:
                        view = grown
        except StorygenError as error:
            warn(error)
        finally:
            pen.writes = False
        yield shown(view)

    def halt(pen: Pen) -> None:
        pen.stops = True

    def walk(view: View | None, event: gr.EventData) -> tuple[Any, ...]:
        number = _number(event, "branch", len(view.branches.nodes) if view else 0)
        if number is None:
            return tuple(gr.skip() for _ in outputs)
        at = view.branches.nodes[number].at if number else None
        return shown(view_of(writer_of(view), view.branches.show(number), at))

    def look(view: View | None, is_open: bool, layer: int | None, head: int | None) -> Any:
        if not is_open:
            return gr.skip()
        return shown_inside(writer_of(view), view, layer or 0, head or 0) if view else hint_html()

    models = {"concurrency_id": "explain", "concurrency_limit": MAX_ROWS, **QUIET}
    writes = {**WRITING, **QUIET}
    seen = [look, [view, looks_inside, layer, head], inside]
    story.begin(begin, pen, [*outputs, *boxes], trigger_mode="once", **writes)
    panel.pick(branch, [view, pen], outputs, trigger_mode="once", **writes).then(*seen, **models)
    panel.halt(halt, pen, None, queue=False, **QUIET)
    panel.close(close, view, outputs, queue=False, **QUIET)
    tab.select(load, [written, view, pen], [*outputs, *boxes], **models).then(*seen, **models)
    tree.select(walk, view, outputs, **models).then(*seen, **models)
    for words in (story, panel):
        words.select(select, view, [view, panel], queue=False, **QUIET).then(*seen, **models)
    for dropdown in (layer, head):
        dropdown.input(*seen, **models)
    inside_box.expand(lambda: True, None, looks_inside, queue=False, **QUIET).then(*seen, **models)
    inside_box.collapse(lambda: False, None, looks_inside, queue=False, **QUIET)


def _number(event: gr.EventData, name: str, below: int) -> int | None:
    """A number that the browser sent, if it is a whole one from 0 to below `below`."""
    value = getattr(event, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below else None
