"""Which models the app offers."""

import os
from collections.abc import Mapping
from pathlib import Path

from storygen.errors import StorygenError
from storygen.writer import Writer, load

DEFAULT = "transformer"
"""The bundled model that is offered first."""
VARIABLE = "STORYGEN_MODELS"
"""Environment variable: folders or Hub repositories, separated by commas; user/name@revision pins one."""
COMPILE = "STORYGEN_COMPILE"
"""Environment variable: 1 compiles the models' steps, which needs a C++ compiler and a minute for each."""


def load_writers(bundled: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Writer]:
    """The models that STORYGEN_MODELS names, else those in the folder `bundled`, by name, ready to write."""
    wanted = [entry.strip() for entry in environment.get(VARIABLE, "").split(",") if entry.strip()]
    if not wanted:
        found = sorted(bundled.glob("*/config.json"), key=lambda file: (file.parent.name != DEFAULT, file.parent.name))
        wanted = [str(file.parent) for file in found]
    if not wanted:
        raise StorygenError(f"no model found: {bundled} holds none, and {VARIABLE} is not set")
    writers: dict[str, Writer] = {}
    for entry in wanted:
        path, _, revision = (entry, "", "") if Path(entry).exists() else entry.partition("@")
        writer = load(path, revision or None, compile=environment.get(COMPILE, "0") not in ("", "0"))
        if writer.name in writers:
            raise StorygenError(f"two models are called {writer.name!r}; rename a folder")
        writers[writer.name] = writer
    return writers
