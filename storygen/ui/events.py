"""What the events of all tabs share."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

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


def after(event: Dependency, fn: Callable[..., Any], inputs: Sequence[Component], outputs: Sequence[Component]) -> None:
    """Has `fn` follow an event whatever comes of it. Gradio's `then` alone follows none that failed, or that found the
    queue full (6.31), and what the event was to unlock would stay locked.
    """
    for follow in (event.then, event.failure):
        follow(fn, inputs, outputs, queue=False, **QUIET)


def warn(error: Exception) -> None:
    """Shows an error as a passing note. Unlike `gr.Error` it covers nothing, and what a user typed stays text."""
    gr.Warning(html.escape(str(error)))
