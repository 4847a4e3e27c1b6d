"""The app as a process of its own, as tests, measurements, pictures and the check before publishing run it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from storygen.errors import StorygenError

SECONDS_BETWEEN_LOOKS = 0.05
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first of them that is there is used; the one without windows takes a quarter less processor time."""
BROWSER_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@dataclass(frozen=True)
class RunningApp:
    """An app that has served its first page."""

    url: str
    seconds: float
    """From its start to that page."""


@contextlib.contextmanager
def running_app(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str | Path] = (sys.executable, "app.py"),
    output: IO | None = None,
    patience: float = 180,
) -> Iterator[RunningApp]:
    """Runs a command in the app's folder while the block lasts, from the first page on that it serves.

    `settings` are environment variables besides those of `environment` (by default this process's own); the port is a
    free one. What the app says goes to `output`. StorygenError if it ends, or serves nothing for `patience` seconds.
    """
    port = free_port()
    environment = {**(os.environ if environment is None else environment), **(settings or {})}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    url, started = f"http://127.0.0.1:{port}", time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        while not _serves(url):
            if process.poll() is not None:
                raise StorygenError("the app ended before it served a page")
            if time.monotonic() - started > patience:
                raise StorygenError(f"the app served no page for {patience:.0f} seconds")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        yield RunningApp(url, time.monotonic() - started)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def free_port() -> int:
    """A port of this machine that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def find_browser() -> str | None:
    """The system's Chromium, which visits the app in tests, measurements and pictures; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
