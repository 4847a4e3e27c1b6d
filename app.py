"""Entry of the app, on a Space and on one's own machine: `python app.py`."""

import os
from pathlib import Path

from storygen.arena.battle import Arena
from storygen.arena.votes import VoteStore
from storygen.catalogue import load_writers
from storygen.cli import run
from storygen.ui.page import build_page
from storygen.ui.theme import CSS, THEME


def main() -> None:
    """Loads the models, builds the page and serves it."""
    writers = load_writers(Path(__file__).parent / "checkpoints")
    arena = Arena(writers, VoteStore(os.environ.get("STORYGEN_VOTES", "votes")))
    page = build_page(writers, arena)
    page.queue(max_size=32)
    page.launch(theme=THEME, css=CSS, ssr_mode=False, footer_links=["settings"])


if __name__ == "__main__":
    run(main)
