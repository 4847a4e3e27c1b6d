"""The whole page: a heading and the tabs."""

from collections.abc import Mapping

import gradio as gr

from storygen.arena.battle import Arena
from storygen.ui.compare import build_compare_tab
from storygen.ui.keys import SCRIPT
from storygen.ui.leaderboard import build_leaderboard_tab
from storygen.ui.rater import build_rater
from storygen.ui.theme import CSS, THEME
from storygen.ui.why import build_why_tab
from storygen.ui.why_look import CSS as WHY_CSS
from storygen.ui.write import build_write_tab
from storygen.writer import Writer

LOOK = {"theme": THEME, "css": CSS + WHY_CSS, "js": SCRIPT}
"""What Gradio takes with the launch rather than with the page."""


def build_page(writers: Mapping[str, Writer], arena: Arena) -> gr.Blocks:
    """The app as Blocks, ready to be launched with LOOK."""
    with gr.Blocks(title="storygen", analytics_enabled=False) as page:
        gr.Markdown(
            "# storygen\nStories by a Transformer and an LSTM, built and trained from scratch. They are small: "
            "expect short, simple tales that sometimes lose their thread."
        )
        rater = build_rater(page, arena)
        with gr.Tab("Write", id="write-tab"):
            written = build_write_tab(writers, arena, rater)
        with gr.Tab("Why this word", id="why-tab") as why:
            build_why_tab(writers, written, why)
        with gr.Tab("Compare", id="compare-tab"):
            build_compare_tab(arena, rater)
        with gr.Tab("Leaderboard", id="leaderboard-tab") as leaderboard:
            build_leaderboard_tab(arena, rater, leaderboard, page)
    return page
