"""The arena of an app: from the environment's settings to something that draws battles."""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from storygen.arena.battle import Arena
from storygen.arena.board import LiveBoard
from storygen.arena.contestants import CATALOGUE, Catalogue, load_catalogue
from storygen.arena.ledger import Ledger
from storygen.arena.mirrors import mirrors_for
from storygen.arena.rules import load_rules
from storygen.arena.votes import VoteReader, VoteStore
from storygen.errors import StorygenError
from storygen.writer import Writer

VOTES, CONTESTANTS, RULES, SECRET = "STORYGEN_VOTES", "STORYGEN_CONTESTANTS", "STORYGEN_RULES", "STORYGEN_SECRET"
"""Environment variables: folder of the votes, file of contestants, file of counting rules, secret for raters' ids."""


def open_arena(writers: Mapping[str, Writer], environment: Mapping[str, str] = os.environ) -> Arena:
    """The arena of these models, not started yet; StorygenError says which setting is wrong."""
    folder = Path(environment.get(VOTES, "votes"))
    store = VoteStore(folder)
    mirrors = mirrors_for(store, environment)
    reader = VoteReader(folder, *(path for mirror in mirrors for path in mirror.folders))
    board = LiveBoard(Ledger(reader, load_rules(environment.get(RULES))))
    path = environment.get(CONTESTANTS, CATALOGUE)
    catalogue = load_catalogue(writers, path)
    able = tuple(each for each in catalogue.contestants if writers[each.model].can(each.config))
    if len(able) < 2:
        raise StorygenError(f"{path}: the models can decode as {len(able)} of its contestants do; two are needed")
    secret = environment[SECRET].encode() if environment.get(SECRET) else kept_secret(folder)
    return Arena(writers, Catalogue(able, catalogue.characters), store, board, secret, mirrors)


def kept_secret(folder: Path) -> bytes:
    """The secret in the votes' folder, made on the first call; nobody but its owner can read it."""
    path, aside = folder / "secret", folder / f".secret-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as target:
                target.write(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)  # whole at once, and never over one that another process has just made
            aside.unlink()
        return path.read_bytes()
    except OSError as error:
        right = f"name another folder in {VOTES}"
        raise StorygenError(f"votes can't be kept in {folder}: {error.strerror}; {right}") from None
