"""API keys: `python -m storygen.server.keys FILE NAME` makes one, prints it, and writes its hash into the file.

A line of the file is a name and the SHA-256 of a key. Keys are 256 random bits, so a fast hash guards them well enough.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from storygen.cli import Parser, run
from storygen.errors import StorygenError

LINE = re.compile(r"([\w.@-]{1,60}) ([0-9a-f]{64})", re.ASCII)
PREFIX = "sg-"
"""Begins every key, so that one that has strayed into a text is found there."""


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def read_keys(path: str | Path) -> dict[str, str]:
    """Name -> digest of each key in a file; empty lines and those that begin with # are passed over."""
    keys: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise StorygenError(f"there is no file of keys {path}; python -m storygen.server.keys makes one") from None
    except (OSError, ValueError) as error:
        raise StorygenError(f"the file of keys {path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise StorygenError(f"{path}, line {number}: a line must be a name, a space, and a SHA-256 in hexadecimal")
        if match[1] in keys:
            raise StorygenError(f"{path}, line {number}: there is a key called {match[1]} already")
        keys[match[1]] = match[2]
    if not keys:
        raise StorygenError(f"{path} holds no key, so nobody could get in; python -m storygen.server.keys makes one")
    return keys


def owner_of(key: str, keys: Mapping[str, str]) -> str | None:
    """The name of a key, None if it is unknown. Takes as long for any key, whichever it is and however wrong."""
    found, name = digest(key), None
    for each, kept in keys.items():
        if hmac.compare_digest(found, kept):
            name = each
    return name


def add_key(path: Path, name: str) -> str:
    """A new key, whose hash is now in the file, which only its owner may read."""
    if LINE.fullmatch(f"{name} {'0' * 64}") is None:
        raise StorygenError(f"the name of a key must be 1 to 60 of a-z, A-Z, 0-9, _, ., @ and -, not {name!r}")
    if path.exists() and path.stat().st_size and name in read_keys(path):
        raise StorygenError(f"there is a key called {name} in {path} already; remove its line to make another")
    key = PREFIX + secrets.token_urlsafe(32)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(f"{name} {digest(key)}\n")
    return key


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m storygen.server.keys", description="Makes an API key and prints it, once.")
    parser.add_argument("file", type=Path, help="file that holds the hashes; it is made if need be")
    parser.add_argument("name", help="whose key it is; the name is in the log")
    arguments = parser.parse_args(argv)
    print(add_key(arguments.file, arguments.name))


if __name__ == "__main__":
    run(main)
