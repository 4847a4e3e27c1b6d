"""What a run needs to go on exactly where it was: weights, optimizer, and how far it has come.

Dropout is seeded anew for each batch, and the order of the data is a function of the seed and the epoch, so no other
state of a random generator has to be kept.
"""

import os
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from storygen.errors import StorygenError

FILE = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


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
    validated: int = -1
    """The step of the last validation."""
    validations_since_best: int = 0
    skipped: int = 0
    """Steps that were skipped because loss or gradient was not finite."""
    skipped_in_a_row: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """Everything in checkpoint.pt."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    progress: Progress
    model_config: dict[str, Any]
    """With the architecture's name."""
    train_config: dict[str, Any]
    """As it was asked for."""
    identity: dict[str, Any]
    """What the data is and how it is dealt out; a run that goes on must have the same."""
    parent: dict[str, str] | None = None
    """Name and revision of the artifact that the run started from, if it did."""
    scaler: dict[str, Any] | None = None
    """State of the gradient scaler, which float16 has."""
    choices: dict[str, Any] = field(default_factory=dict)
    """What was chosen where nothing was asked for: `Machine.choices`."""

    def check(self, directory: Path, identity: dict[str, Any]) -> None:
        """Refuses to go on with other data, or with the same data in another order."""
        for name, value in identity.items():
            if self.identity.get(name) != value:
                raise StorygenError(
                    f"{directory / FILE} was made with {name} {self.identity.get(name)!r}, not {value!r}; "
                    "resume with the same"
                )


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Writes checkpoint.pt beside the old one, then puts it in its place and keeps the old one as the previous.

    However a write is cut, `load_checkpoint` finds one that is whole.
    """
    path, work = directory / FILE, directory / (FILE + ".unfinished")
    content = {each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}
    try:
        with work.open("wb") as file:
            torch.save({**content, "progress": asdict(checkpoint.progress)}, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(directory / PREVIOUS)
        work.replace(path)
    except (OSError, RuntimeError) as error:
        work.unlink(missing_ok=True)
        raise StorygenError(f"{work} cannot be written ({error}); the checkpoint before it is whole") from None


def load_checkpoint(directory: Path) -> tuple[Checkpoint, str]:
    """The newest checkpoint of a run that is whole, and a note if that is not the last one that was written.

    StorygenError when there is none or all are damaged.
    """
    newest, previous = directory / FILE, directory / PREVIOUS
    if not newest.exists() and not previous.exists():
        raise StorygenError(f"nothing to resume: {newest} does not exist; start without --resume")
    problems = []
    for path in (newest, previous):
        try:
            checkpoint = _read(path)
        except StorygenError as error:
            problems.append(str(error))
        else:
            return checkpoint, "; ".join([*problems, f"going on from {path}"]) if problems else ""
    raise StorygenError("; ".join(problems))


def _read(path: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:  # `torch.load` doesn't look at the checksums
            if bad := archive.testzip():
                raise ValueError(f"{bad} does not have its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)  # never unpickles code
        return Checkpoint(**{**content, "progress": Progress(**content["progress"])})
    except FileNotFoundError:
        raise StorygenError(f"{path} does not exist") from None
    except Exception as error:  # a damaged archive fails in many ways
        raise StorygenError(f"{path} is damaged: {error}") from None
