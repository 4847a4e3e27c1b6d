"""What the events of all tabs share."""

import html

import gradio as gr

from storygen.decoding.engine import MAX_ROWS

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""Options of an event that shows its progress itself and is no part of the public API."""
WRITING = {"concurrency_id": "generate", "concurrency_limit": 2 * MAX_ROWS}
"""Options of an event that writes. The engine's queue can tell a visitor's place, Gradio's before it can't: so that one
holds back only those beyond this number."""
MAX_QUEUED = 32
"""Events that Gradio lets wait; who comes beyond is told to try again."""
THREADS = 80
"""Of the page: each event that writes or explains has one as long as it runs, and there must be some for all others."""


def warn(error: Exception) -> None:
    """Shows an error as a passing note. Unlike `gr.Error` it covers nothing, and what a user typed stays text."""
    gr.Warning(html.escape(str(error)))
