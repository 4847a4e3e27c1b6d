"""Entry of the app, on a Space and on one's own machine: `python app.py`."""

import signal
import sys
from pathlib import Path

from storygen.arena.opening import open_arena
from storygen.catalogue import load_writers
from storygen.cli import run
from storygen.ui.page import build_page, launch
from storygen.zerogpu import register


def main() -> None:
    """Loads the models, builds the page and serves it."""
    register()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that votes are pushed at the exit
    writers, notes = load_writers(Path(__file__).parent / "checkpoints")
    arena = open_arena(writers)
    page = build_page(writers, arena, notes)
    arena.start()
    launch(page)


if __name__ == "__main__":
    run(main)
