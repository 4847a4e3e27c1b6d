"""The Write tab: a title, an opening line, a model and a strategy, and a story that streams in and can be worked on."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from storygen.arena.battle import Arena
from storygen.arena.suggestions import SUGGESTIONS
from storygen.config import MAX_OPENING, MAX_TITLE
from storygen.errors import StorygenError
from storygen.models.transformer import Transformer
from storygen.permalink import from_query
from storygen.ui.drafts import draft_cards, draft_name, message_html, status_html
from storygen.ui.events import QUIET, WRITING, after, warn
from storygen.ui.rater import RaterWidgets
from storygen.ui.settings import build_settings, config_of, offered, values_of
from storygen.ui.stars import build_stars
from storygen.ui.stream import Pen, growing, progress
from storygen.ui.texts import fixed, say
from storygen.writer import Result, Writer

KEPT = 12
"""Drafts, and steps back, that a visit keeps."""
CARET = "▍"
"""Where the next word will come."""
LOCK_JS = """() => {
  document.querySelector('#story').scrollIntoView({block: 'nearest'});  // on a phone it is below the prompt
  return Array(%d).fill({__type__: 'update', interactive: false});
}"""
"""Locks so many components in the browser: to ask the server for it first would delay the first word."""
CLICK_WRITE = "go => { if (go) document.querySelector('#write').click(); }"
DOWNLOAD = """(title, story) => {
  const text = %s, name = (title || 'story').replace(/[^\\p{L}\\p{N} -]/gu, '').trim().slice(0, 60) || 'story';
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/plain;charset=utf-8'}));
  link.download = name + '%s';
  link.click();
  URL.revokeObjectURL(link.href);
}"""
AS_TEXT = DOWNLOAD % ("(title ? title + '\\n\\n' : '') + story + '\\n'", ".txt")
AS_MARKDOWN = DOWNLOAD % ("(title ? '# ' + title + '\\n\\n' : '') + story + '\\n'", ".md")
CSS = """
#write-grid { display: grid !important; grid-template: "ask story" "tune story" 1fr / 2fr 3fr; align-items: start; }
#ask { grid-area: ask; } #tune { grid-area: tune; } #story-side { grid-area: story; }
.cards { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(260px, 1fr); gap: 1rem; overflow-x: auto; }
.cards article { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 0.8rem 1rem; }
.cards p { white-space: pre-wrap; }
.cards h4 { font-size: 0.85rem; color: var(--body-text-color-subdued); margin: 0 0 0.5rem; }
#status details summary { cursor: pointer; }
@media (max-width: 760px) {
  #write-grid { grid-template: "ask" "story" "tune" / 100%; }
  #story-buttons { display: grid !important; grid-template-columns: 1fr 1fr; }
}
"""


def write_story(
    writers: Mapping[str, Writer], title: str, opening: str, model: str, *settings: Any
) -> Iterator[tuple[str, Result | int | None]]:
    """The story so far, a few times a second. With it comes, while it waits for its turn, how many stories come
    before it, and at the end the result. Settings are as `config_of` takes them.
    """
    stream = writers[model].stream(opening or "", title or "", config_of(*settings))
    yield from ((text, stream.ahead) for text in growing(stream, stream.opening))
    yield stream.result.story, stream.result


def describe_model(writer: Writer) -> str:
    """A sentence on the model for visitors."""
    if not isinstance(writer, Writer):
        return say("about.remote")
    size = f"{writer.model.num_parameters / 1e6:.1f}"
    if isinstance(writer.model, Transformer):
        return say("about.transformer", size=size, window=writer.model.window)
    return say("about.lstm", size=size)


def build_write_tab(page: gr.Blocks, writers: Mapping[str, Writer], arena: Arena, rater: RaterWidgets) -> gr.State:
    """Places the tab's widgets and wires them; gives the state that holds the last story's Result."""
    first = next(iter(writers))
    with gr.Row(elem_id="write-grid"):
        with gr.Column(min_width=280, elem_id="ask"):
            title = gr.Textbox(
                label=fixed("prompt"),
                placeholder="The Fox and the Moon",
                max_length=MAX_TITLE,
                elem_id="title",
            )
            opening = gr.Textbox(
                label=fixed("write.opening"),
                placeholder="Once upon a time",
                lines=2,
                max_length=MAX_OPENING,
                elem_id="opening",
            )
            with gr.Row():
                go = gr.Button(fixed("write.go"), variant="primary", min_width=140, elem_id="write")
                surprise = gr.Button(fixed("write.surprise"), min_width=110, elem_id="surprise")
        with gr.Column(min_width=280, elem_id="tune"):
            model = gr.Dropdown(list(writers), value=first, label=fixed("model"), elem_id="model")
            about = gr.Markdown(describe_model(writers[first]), elem_classes="hint", elem_id="about-model")
            settings = build_settings(offered(writers.values()))
        with gr.Column(min_width=280, elem_id="story-side"):
            story = gr.Textbox(
                label=fixed("write.story"),
                lines=15,
                max_lines=30,
                interactive=True,
                buttons=["copy"],
                max_length=MAX_OPENING,
                placeholder=fixed("write.empty"),
                elem_id="story",
                elem_classes="story",
            )
            with gr.Row(elem_id="story-buttons"):
                stop = gr.Button(fixed("write.stop"), interactive=False, min_width=80, elem_id="stop-button")
                further = gr.Button(fixed("write.continue"), interactive=False, min_width=90, elem_id="continue")
                again = gr.Button(fixed("write.again"), interactive=False, min_width=110, elem_id="again")
                undo = gr.Button(fixed("write.undo"), interactive=False, min_width=80, elem_id="undo-story")
            status = gr.HTML(elem_id="status", elem_classes="hint")
            with gr.Row():
                as_text = gr.Button(fixed("write.as_text"), size="sm", min_width=110)
                as_markdown = gr.Button(fixed("write.as_markdown"), size="sm", min_width=140)
            written, drafts, before, pen = gr.State(None), gr.State([]), gr.State([]), gr.State(Pen())
            build_stars(arena, rater, written)
    with gr.Accordion(fixed("write.drafts"), open=False):
        cards = gr.HTML(draft_cards([]), elem_id="drafts")
        bring_back = gr.Dropdown([], value=None, label=fixed("write.bring_back"), elem_id="bring-back")
    buttons = [go, surprise, stop, further, again, undo]
    asked = gr.Checkbox(visible="hidden")  # a State's value does not reach the browser

    def told(result: Result) -> str:
        writer = writers[result.model]
        return status_html(result, writer.artifact.folder if isinstance(writer, Writer) else None)

    def writes(opening_of: Callable[[str, str], str], is_new: bool) -> Callable[..., Iterator[tuple[Any, ...]]]:
        """The handler of a button: `opening_of` tells from opening and story what to continue; `is_new`: a new seed."""

        def stream(
            story: str,
            drafts: list[Result],
            before: list[str],
            pen: Pen,
            title: str,
            opening: str,
            model: str,
            *values: Any,
        ) -> Iterator[tuple[Any, ...]]:
            pen.stops = False
            text = story = story.removesuffix(CARET)  # there is one if the connection broke
            kept, unchanged, stoppable = _kept(story, before), gr.skip(), gr.update(interactive=True)

            def show(text: str, line: str, stop: Any = unchanged) -> tuple[Any, ...]:
                """An update of a story that has no result (yet)."""
                return text, message_html(line), None, *[unchanged] * 3, kept, stop

            try:
                chosen = (*values[:-1], "") if is_new else values
                for text, result in write_story(writers, title, opening_of(opening, story), model, *chosen):
                    if pen.stops:
                        yield show(text, say("write.stopped"))
                        return
                    if not isinstance(result, Result):
                        yield show(text + CARET, progress(result), stoppable)
                        stoppable = unchanged
                drafts = [*drafts, result][-KEPT:]
                names = [(draft_name(number, draft), number) for number, draft in enumerate(drafts)]
                back = gr.update(choices=names, value=None)
                yield text, told(result), result, drafts, draft_cards(drafts), back, kept, unchanged
            except StorygenError as error:
                warn(error)
                yield show(text, say("write.failed", error=error))

        return stream

    def on_write(trigger: gr.Button, opening_of: Callable[[str, str], str], is_new: bool = False) -> None:
        """Wires a button that writes."""
        locked = [*buttons, story]
        trigger.click(None, None, locked, js=LOCK_JS % len(locked), api_visibility="private")
        writing = trigger.click(
            writes(opening_of, is_new),
            [story, drafts, before, pen, title, opening, model, *settings.inputs],
            [story, status, written, drafts, cards, bring_back, before, stop],
            trigger_mode="once",
            **WRITING,
            **QUIET,
        )
        after(writing, _idle, [story, before], locked)

    def bring_back_draft(number: int, drafts: list[Result], text: str, before: list[str]) -> tuple[Any, ...]:
        draft = drafts[number]
        kept = _kept(text, before)
        return draft.story, draft, told(draft), kept, *_buttons(draft.story, kept)

    def halt(pen: Pen) -> None:
        pen.stops = True

    on_write(go, lambda opening, story: opening)
    on_write(again, lambda opening, story: opening, is_new=True)
    on_write(further, lambda opening, story: story, is_new=True)
    stop.click(halt, pen, None, queue=False, **QUIET)
    surprised = surprise.click(
        lambda: (True, random.choice(SUGGESTIONS), "", ""),
        None,
        [asked, title, opening, settings.seed],
        queue=False,
        **QUIET,
    )
    surprised.then(None, asked, None, js=CLICK_WRITE, api_visibility="private")
    undo.click(_step_back, before, [story, before, written, undo, status], queue=False, **QUIET)
    bring_back.input(
        bring_back_draft,
        [bring_back, drafts, story, before],
        [story, written, status, before, *buttons],
        queue=False,
        **QUIET,
    )
    gr.on(  # at the load, too, as only an event knows who visits and in which language
        [page.load, model.change], lambda name: describe_model(writers[name]), model, about, queue=False, **QUIET
    )
    story.input(lambda text, before: _buttons(text, before), [story, before], buttons, queue=False, **QUIET)
    as_text.click(None, [title, story], js=AS_TEXT, api_visibility="private")
    as_markdown.click(None, [title, story], js=AS_MARKDOWN, api_visibility="private")

    def open_link(request: gr.Request) -> list[Any]:
        """Fills the page from the link by which it was opened."""
        unchanged = [gr.skip()] * (4 + len(settings.inputs))
        try:
            link = from_query(query_of(request))
            if link is None:
                return [False, *unchanged]
            if link.model not in writers:
                raise StorygenError(f"the link asks for the model {link.model!r}, which this page does not have")
            is_same = link.revision in ("", writers[link.model].revision)
            note = message_html("" if is_same else say("write.other_revision"))
            return [True, link.title, link.opening, link.model, note, *values_of(link.config)]
        except StorygenError as error:
            return [False, *unchanged[:3], message_html(say("write.bad_link", error=error)), *unchanged[4:]]

    page.load(open_link, None, [asked, title, opening, model, status, *settings.inputs], **QUIET).then(
        None, asked, None, js=CLICK_WRITE, api_visibility="private"
    )
    return written


def query_of(request: gr.Request) -> dict[str, str | list[str]]:
    """The query string of the page, with all values of a name that stands there several times."""
    pairs: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        pairs.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}


def _buttons(text: str, before: list[str]) -> tuple[Any, ...]:
    """Which of write, surprise, stop, continue, another and undo can be pressed while nothing is written."""
    has_text = bool(text and text.strip())
    able = (True, True, False, has_text, has_text, bool(before))
    return tuple(gr.update(interactive=is_able) for is_able in able)


def _kept(text: str, before: list[str]) -> list[str]:
    """The texts that Undo can bring back, with this one if there is anything in it."""
    return [*before, text][-KEPT:] if text and text.strip() else before


def _idle(text: str, before: list[str]) -> tuple[Any, ...]:
    return (*_buttons(text, before), gr.update(interactive=True))


def _step_back(before: list[str]) -> tuple[Any, ...]:
    if not before:
        return gr.skip(), before, None, gr.update(interactive=False), gr.skip()
    *rest, text = before
    return text, rest, None, gr.update(interactive=bool(rest)), ""
