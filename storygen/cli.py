"""Command lines made from the settings: flags, help and bounds come from the fields, errors are one line."""

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from storygen.config import Config
from storygen.errors import StorygenError


def add_settings(parser: argparse.ArgumentParser, config: type[Config], *, skip: Sequence[str] = ()) -> None:
    """Adds a flag for each field of a config class (`top_p` becomes `--top-p`). A flag not given is left out."""
    hints = typing.get_type_hints(config)
    group = parser.add_argument_group(config.__name__)
    for field in dataclasses.fields(config):
        if field.name in skip:
            continue
        hint = hints[field.name]
        accepted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = next(t for t in accepted if t is not type(None))
        help_text = f"{field.metadata['help']} (default: {field.default})".replace("%", "%%")
        flag = "--" + field.name.replace("_", "-")
        extra: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": field.name, "help": help_text}
        if kind is bool:
            extra["action"] = argparse.BooleanOptionalAction
        else:
            extra |= {"type": kind, "choices": field.metadata["choices"], "metavar": kind.__name__.upper()}
        if field.metadata["choices"]:
            del extra["metavar"]
        group.add_argument(flag, **extra)


def settings_in(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """The fields of a config class that were given on the command line."""
    names = (field.name for field in dataclasses.fields(config))
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Runs a command; a StorygenError is printed as one line and exits with 2, Ctrl-C with 130."""
    try:
        main(None)
    except StorygenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def new_directory(path: Path, overwrite: bool) -> Path:
    """Checks that an output folder may be made: an existing one that is not empty needs `--overwrite`."""
    if path.is_file():
        raise StorygenError(f"--out {path} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise StorygenError(f"--out {path} exists; give another folder, or --overwrite to replace it")
    return path
