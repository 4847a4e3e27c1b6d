"""The whole page: a heading and the tabs."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from storygen.arena.battle import Arena
from storygen.ui import announce, compare, connection, how, keys, write
from storygen.ui.api import build_api
from storygen.ui.events import MAX_QUEUED, THREADS
from storygen.ui.leaderboard import build_leaderboard_tab
from storygen.ui.markdown import plain
from storygen.ui.rater import build_rater
from storygen.ui.texts import TEXTS, fixed
from storygen.ui.theme import CSS, THEME
from storygen.ui.why import build_why_tab
from storygen.ui.why_look import CSS as WHY_CSS
from storygen.writer import Writer

LOOK = {
    "theme": THEME,
    "i18n": gr.I18n(**{language: {**TEXTS[language], **how.steps(language)} for language in TEXTS}),
    "css": CSS + write.CSS + WHY_CSS + compare.CSS + how.CSS + announce.CSS + connection.CSS,
    "js": f"() => {{ ({keys.SCRIPT})(); ({announce.SCRIPT})(); ({connection.SCRIPT})(); }}",
    "ssr_mode": False,
    "footer_links": ["settings"],
}
"""What Gradio takes with the launch rather than with the page."""
FILES_KEPT = 3600
"""Seconds after which Gradio's copies of files that were downloaded are deleted."""


def build_page(writers: Mapping[str, Writer], arena: Arena, notes: Sequence[str] = ()) -> gr.Blocks:
    """The app as Blocks, ready to be launched with LOOK. The notes stand at the top of the page."""
    with gr.Blocks(title="storygen", analytics_enabled=False, delete_cache=(FILES_KEPT, FILES_KEPT)) as page:
        page.queue(max_size=MAX_QUEUED)
        page.max_threads = THREADS
        connection.build_connection()
        gr.Markdown(f"# storygen\n{fixed('page.about')}")
        build_notes(notes)
        rater = build_rater(page, arena)
        here = {name: writer for name, writer in writers.items() if isinstance(writer, Writer)}  # can be looked into
        with gr.Tabs(overflow_behavior="wrap"):  # a menu would hide the last ones on a phone
            with gr.Tab(fixed("tab.write"), id="write-tab"):
                written = write.build_write_tab(page, writers, arena, rater)
            if here:
                with gr.Tab(fixed("tab.why"), id="why-tab") as why:
                    build_why_tab(here, written, why)
            with gr.Tab(fixed("tab.compare"), id="compare-tab"):
                compare.build_compare_tab(arena, rater)
            with gr.Tab(fixed("tab.leaderboard"), id="leaderboard-tab") as leaderboard:
                build_leaderboard_tab(arena, rater, leaderboard)
            if here:
                with gr.Tab(fixed("tab.how"), id="how-tab") as lesson:
                    how.build_how_tab(here, lesson)
        build_api(writers)
    return page


def launch(page: gr.Blocks, **options: Any) -> str:
    """Serves the page and gives its address; options are those of `Blocks.launch`."""
    # _frontend: Gradio would look at the page first, and end the app where a busy machine takes 3 s to show it.
    _, url, _ = page.launch(**LOOK, max_threads=page.max_threads, _frontend=False, **options)
    return url.rstrip("/")


def build_notes(notes: Sequence[str]) -> None:
    """Places what visitors should know before they begin; nothing if there is nothing to say."""
    if notes:
        gr.Markdown("  \n".join(map(plain, notes)), elem_id="notes")
