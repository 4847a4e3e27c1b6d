"""The corpus that ships with the package."""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def builtin_tales() -> tuple[list[Path], list[Path]]:
    """Training and validation files of the built-in tales."""
    return [CORPUS / "tales.train.jsonl.gz"], [CORPUS / "tales.valid.jsonl.gz"]
