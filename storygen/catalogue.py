"""Which models the app offers."""

import os
from collections.abc import Mapping
from pathlib import Path

from storygen.errors import StorygenError
from storygen.remote import RemoteWriter, backend_of, remote_writers
from storygen.writer import Writer, load

DEFAULT = "transformer"
"""The bundled model that is offered first."""
VARIABLE = "STORYGEN_MODELS"
"""Environment variable: folders or Hub repositories, separated by commas; user/name@revision pins one."""
COMPILE = "STORYGEN_COMPILE"
"""Environment variable: 1 compiles the models' steps, which needs a C++ compiler and a minute for each."""

BACKEND, BACKEND_KEY = "STORYGEN_BACKEND", "STORYGEN_BACKEND_KEY"
"""Environment variables: openai:URL offers the models of another server, beside those that VARIABLE names."""


def load_writers(bundled: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Writer | RemoteWriter]:
    """The models that STORYGEN_MODELS and STORYGEN_BACKEND name, else those in the folder `bundled`, by name."""
    wanted = [entry.strip() for entry in environment.get(VARIABLE, "").split(",") if entry.strip()]
    backend = environment.get(BACKEND, "")
    remote = remote_writers(backend_of(backend, environment.get(BACKEND_KEY, ""))) if backend else []
    if not wanted and not remote:
        found = sorted(bundled.glob("*/config.json"), key=lambda file: (file.parent.name != DEFAULT, file.parent.name))
        wanted = [str(file.parent) for file in found]
    if not wanted and not remote:
        raise StorygenError(f"no model found: {bundled} holds none, and {VARIABLE} is not set")
    writers: dict[str, Writer | RemoteWriter] = {}
    for entry in wanted:
        path, _, revision = (entry, "", "") if Path(entry).exists() else entry.partition("@")
        writer = load(path, revision or None, compile=environment.get(COMPILE, "0") not in ("", "0"))
        if writer.name in writers:
            raise StorygenError(f"two models are called {writer.name!r}; rename a folder")
        writers[writer.name] = writer
    for writer in remote:
        if writer.name in writers:
            raise StorygenError(f"a model of {BACKEND} is called {writer.name!r}, as one here is; rename that folder")
        writers[writer.name] = writer
    return writers
