"""Whether the app starts where nothing is installed but what its requirements say, and without a token."""

import os
import subprocess
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from storygen.app_process import running_app
from storygen.errors import StorygenError

OURS = ("HF_TOKEN", "HF_HOME", "HUGGING_FACE", "STORYGEN_", "GRADIO_", "PYTHON")
"""Beginnings of environment variables that a new machine would not have."""
PATIENCE = 180
"""Seconds that the app may take to its first page."""


def start_clean(folder: Path, packages: Sequence[str], settings: Mapping[str, str]) -> float:
    """Seconds that the app in a folder takes to its first page, in a virtual environment made for it.

    `packages` are installed besides its requirements; `settings` are environment variables. StorygenError has the last
    line of what pip or the app said.
    """
    with tempfile.TemporaryDirectory() as work:
        venv.create(Path(work, "venv"), with_pip=True)
        python = Path(work, "venv", "Scripts" if os.name == "nt" else "bin", "python")
        command = [python, "-m", "pip", "install", "--quiet", "-r", folder / "requirements.txt", *packages]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise StorygenError(f"requirements.txt cannot be installed: {_last_line(done.stderr)}")
        return seconds_to_page([python, "app.py"], folder, settings)


def seconds_to_page(command: Sequence[str | Path], folder: Path, settings: Mapping[str, str]) -> float:
    """Seconds until a command, run in a folder, serves a page on the port that GRADIO_SERVER_PORT names to it."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile("w+") as said:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        environment |= {"HOME": home, "STORYGEN_VOTES": home}
        try:
            with running_app(folder, settings, environment, command, said, PATIENCE) as app:
                return app.seconds
        except StorygenError:
            said.seek(0)
            last = _last_line(said.read())
            raise StorygenError(f"app.py does not start in a clean environment: {last}") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
