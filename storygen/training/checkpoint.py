"""What a run needs to go on exactly where it was: weights, optimizer, and how far it has come.

Dropout is seeded anew for each step, and the order of the data is a function of the seed and the epoch, so no other
state of a random generator has to be kept.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from storygen.errors import StorygenError

FILE = "checkpoint.pt"


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    epoch: int = 0
    batch: int = 0
    """The next batch of the epoch."""
    best: float | None = None
    """Lowest validation bits per byte so far."""


def save_checkpoint(
    directory: Path, model: dict[str, Any], optimizer: dict[str, Any], progress: Progress, identity: dict[str, Any]
) -> None:
    """Writes checkpoint.pt beside the old one and puts it in its place: a cut write leaves the old one whole."""
    work = directory / (FILE + ".unfinished")
    content = {"model": model, "optimizer": optimizer, "progress": asdict(progress), "identity": identity}
    try:
        with open(work, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, directory / FILE)
    except (OSError, RuntimeError) as error:
        work.unlink(missing_ok=True)
        raise StorygenError(f"{work} cannot be written ({error}); the checkpoint before it is whole") from None


def load_checkpoint(directory: Path, identity: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Progress]:
    """Weights, optimizer and progress; StorygenError when it belongs to another model, corpus or tokenizer."""
    path = directory / FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # never unpickles code
    except FileNotFoundError:
        raise StorygenError(f"nothing to resume: {path} does not exist; start without --resume") from None
    except Exception as error:  # a damaged archive fails in many ways
        raise StorygenError(f"{path} is damaged: {error}") from None
    for name, value in identity.items():
        if content["identity"].get(name) != value:
            raise StorygenError(f"{path} was made with {name} {content['identity'].get(name)!r}, not {value!r}")
    return content["model"], content["optimizer"], Progress(**content["progress"])
