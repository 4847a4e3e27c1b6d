"""Where a tuned model comes from: every step since the first training, in training.json and on the card."""

from pathlib import Path
from typing import Any

from storygen import artifact
from storygen.artifact import Artifact

LINEAGE = "lineage"
"""Field of training.json: the steps, the first one first."""
OF_WEIGHTS = ("metrics", "samples", "curve")
"""Fields of training.json that say something of the weights, and nothing of others."""


def descended(parent: Artifact, method: str, data: dict[str, Any], **about: Any) -> list[dict[str, Any]]:
    """The lineage of a model that was made from `parent` by a method (`sft`, `dpo`, `rank`) on this data.

    `about` is what else is worth keeping: settings and figures.
    """
    step = {"method": method, "parent": {"name": parent.name, "revision": parent.revision}, "data": data, **about}
    return [*parent.training.get(LINEAGE, []), step]


def write_lineage(loaded: Artifact, directory: Path, lineage: list[dict[str, Any]]) -> None:
    """Writes the artifact with this lineage, in place of what is there."""
    training = {**loaded.training, LINEAGE: lineage}
    artifact.save(directory, loaded.model, loaded.tokenizer, training, reward=loaded.reward)


def told(lineage: list[dict[str, Any]]) -> list[str]:
    """The steps in words, a line each, for the card."""
    return [_told(step) for step in lineage]


def _told(step: dict[str, Any]) -> str:
    parent, data = step["parent"], step["data"]
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in data.items() if value is not None)
    lines = f"`{step['method']}` from {parent['name']} at revision {parent['revision']}, on {about}."
    figures = step.get("bits_per_byte", {})
    changes = [f"{name} {before:.3f} to {after:.3f}" for name, (before, after) in figures.items()]
    return lines + (f" Bits per byte: {', '.join(changes)}." if changes else "")
