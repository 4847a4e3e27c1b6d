"""What the events of all tabs share."""

import html

import gradio as gr

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""Options of an event that shows its progress itself and is no part of the public API."""


def warn(error: Exception) -> None:
    """Shows an error as a passing note. Unlike `gr.Error` it covers nothing, and what a user typed stays text."""
    gr.Warning(html.escape(str(error)))
