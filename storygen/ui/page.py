"""The whole page: a heading and the tabs."""

from collections.abc import Mapping

import gradio as gr

from storygen.arena.battle import Arena
from storygen.ui.api import build_api
from storygen.ui.compare import build_compare_tab
from storygen.ui.write import build_write_tab
from storygen.writer import Writer


def build_page(writers: Mapping[str, Writer], arena: Arena) -> gr.Blocks:
    """The app as Blocks, ready to be launched with the theme and the style sheet of `storygen.ui.theme`."""
    with gr.Blocks(title="storygen", analytics_enabled=False) as page:
        gr.Markdown(
            "# storygen\nStories by a Transformer and an LSTM, built and trained from scratch. They are small: "
            "expect short, simple tales that sometimes lose their thread."
        )
        with gr.Tab("Write", id="write-tab"):
            build_write_tab(writers)
        with gr.Tab("Compare", id="compare-tab"):
            build_compare_tab(arena)
        build_api(writers)
    return page
