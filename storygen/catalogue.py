"""Which models the app offers."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from storygen.errors import StorygenError, UnavailableError
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


def load_writers(
    bundled: Path, environment: Mapping[str, str] = os.environ
) -> tuple[dict[str, Writer | RemoteWriter], list[str]]:
    """The models that STORYGEN_MODELS and STORYGEN_BACKEND name, by name and ready to write, and notes for visitors.

    A model that cannot be loaded or reached is left out, and a note says why. Without any, the models in the folder
    `bundled` take their place; StorygenError if there are none either.
    """
    wanted = [entry.strip() for entry in environment.get(VARIABLE, "").split(",") if entry.strip()]
    compile = environment.get(COMPILE, "0") not in ("", "0")
    writers, notes = _load_all(wanted, compile)
    if backend := environment.get(BACKEND, ""):
        try:
            for writer in remote_writers(backend_of(backend, environment.get(BACKEND_KEY, ""))):
                _add(writers, notes, writer, f"{writer.name} of {BACKEND}")
        except UnavailableError as error:
            notes.append(f"The models of {BACKEND} are missing: {error}.")
    if not writers:
        found = sorted(bundled.glob("*/config.json"), key=lambda file: (file.parent.name != DEFAULT, file.parent.name))
        writers, more = _load_all([str(file.parent) for file in found], compile)
        if notes and writers:
            notes.append("The bundled models take the place of the ones that were asked for.")
        notes += more
    if not writers:
        told = "; ".join(notes) if notes else f"{bundled} holds none, and {VARIABLE} is not set"
        raise StorygenError(f"no model found: {told}")
    return writers, notes


def _add(
    writers: dict[str, Writer | RemoteWriter], notes: list[str], writer: Writer | RemoteWriter, entry: str
) -> None:
    """Adds a writer by its name; if that is taken, a note says so."""
    if writer.name in writers:
        notes.append(f"The model {entry} is missing: there is another one called {writer.name}.")
    else:
        writers[writer.name] = writer


def _load_all(entries: Iterable[str], compile: bool) -> tuple[dict[str, Writer | RemoteWriter], list[str]]:
    """Those of the models that can be loaded, by name, and a note on each that can't."""
    writers: dict[str, Writer | RemoteWriter] = {}
    notes: list[str] = []
    for entry in entries:
        path, _, revision = (entry, "", "") if Path(entry).exists() else entry.partition("@")
        try:
            writer = load(path, revision or None, compile=compile)
        except (StorygenError, OSError, RuntimeError) as error:  # torch says by a RuntimeError that memory is short
            notes.append(f"The model {entry} is missing: {error}.")
            continue
        _add(writers, notes, writer, entry)
    return writers, notes
