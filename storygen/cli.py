"""Command lines made from the settings: flags, help and bounds come from the fields, errors are one line."""

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from storygen.config import Config
from storygen.errors import StorygenError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


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
        extra: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": field.name, "help": help_text}
        if kind is bool:
            extra["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is tuple:
            extra |= {"action": "append", "metavar": "TEXT", "help": help_text + "; may be given several times"}
        elif field.metadata["choices"]:
            extra["choices"] = field.metadata["choices"]
        else:
            extra |= {"type": kind, "metavar": kind.__name__.upper()}
        group.add_argument("--" + field.name.replace("_", "-"), **extra)


def settings_in(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """The fields of a config class that were given on the command line."""
    names = (field.name for field in dataclasses.fields(config))
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def run(main: Callable[[], None]) -> None:
    """Runs a command. What a user or a disk did wrong is printed as one line and exits with 2, Ctrl-C with 130."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that can't show a character gets "?"
    try:
        main()
    except StorygenError as error:
        sys.exit(_fail(str(error)))
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        sys.exit(_fail(f"{error.filename}: {error.strerror}" if error.filename else str(error)))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2
