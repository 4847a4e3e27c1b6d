"""One to five stars for a single story, on four aspects."""

from typing import Any

import gradio as gr

from storygen.arena.battle import Arena
from storygen.arena.votes import MAX_NOTE, TAGS
from storygen.errors import StorygenError
from storygen.ui.events import QUIET, warn
from storygen.ui.rater import RaterWidgets, rater_of
from storygen.ui.texts import fixed, say
from storygen.writer import Result

STARS = [("★" * count, count) for count in range(1, 6)]


def build_stars(arena: Arena, rater: RaterWidgets, written: gr.State) -> None:
    """Places the stars for the story whose Result is in `written`, and wires them."""
    with gr.Accordion(fixed("stars"), open=False):
        with gr.Row():
            stars = [
                gr.Dropdown(STARS, value=None, label=fixed(f"tag.{tag}"), min_width=120, elem_id=f"stars-{tag}")
                for tag in TAGS
            ]
        note = gr.Textbox(label=fixed("note"), max_length=MAX_NOTE, elem_id="stars-note")
        save = gr.Button(fixed("stars.save"), min_width=120, elem_id="save-stars")
        said = gr.Markdown(fixed("stars.consent"), elem_classes="hint", elem_id="stars-status")

    def rate(
        result: Result | None,
        kept: str,
        note: str,
        grammar: int | None,
        sense: int | None,
        creative: int | None,
        prompt: int | None,
        profile: gr.OAuthProfile | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        try:
            if result is None:
                raise StorygenError("write a story first")
            person = rater_of(arena, kept, profile, request)
            given = dict(zip(TAGS, (grammar, sense, creative, prompt), strict=True))
            arena.rate(request.session_hash or "", person, result, given, note or "")
        except StorygenError as error:
            warn(error)
            return gr.skip(), gr.skip()
        return say("stars.thanks"), ""

    save.click(rate, [written, rater.browser, note, *stars], [said, note], **QUIET)
