"""Corpora known by name."""

from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def builtin_tales() -> tuple[list[Path], list[Path]]:
    """Training and validation files of the corpus that ships with the package."""
    return [CORPUS / "tales.train.jsonl.gz"], [CORPUS / "tales.valid.jsonl.gz"]


SOURCES: dict[str, Callable[[], tuple[list[Path], list[Path]]]] = {"tales": builtin_tales}
"""Named sources: each gives its training files and its validation files."""
