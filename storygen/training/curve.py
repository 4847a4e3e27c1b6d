"""The loss curve of a run: as a picture, and as a few points to go with the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storygen.training.log import RunLog

FILE = "curve.png"
POINTS = 100
"""How many points of each kind a light curve has at most."""


def light_curve(lines: Sequence[dict[str, Any]], points: int = POINTS) -> dict[str, list[list[float]]]:
    """The lines of a log as `loss` (nats per token) and `valid_bits_per_byte`, each a list of [tokens, value].

    Of a long run a loss is the mean over neighbouring lines, as it jumps from step to step, and of the validations only
    every so manieth is kept, the last in any case. Empty if nothing was logged.
    """
    losses = [(line["tokens"], line["loss"]) for line in lines if "loss" in line]
    valid = [(line["tokens"], line["valid_bits_per_byte"]) for line in lines if "valid_bits_per_byte" in line]
    width, stride = (max(1, -(-len(found) // points)) for found in (losses, valid))
    parts = [losses[first : first + width] for first in range(0, len(losses), width)]
    curve = {
        "loss": [[sum(values) / len(part) for values in zip(*part, strict=True)] for part in parts],
        "valid_bits_per_byte": valid[::-1][::stride][::-1],
    }
    return {name: [[round(x), round(y, 4)] for x, y in pairs] for name, pairs in curve.items() if pairs}


def draw_curve(run: Path) -> Path | None:
    """Draws log.jsonl as curve.png: loss and validation above, learning rate below. None if nothing was logged."""
    import matplotlib  # slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = RunLog(run).read()
    losses = [line for line in lines if "loss" in line and "learning_rate" in line]
    valid = [line for line in lines if "valid_bits_per_byte" in line]
    if not losses and not valid:
        return None
    # By hand, as a layout that finds them takes as long as all the drawing.
    margins = {"left": 0.11, "right": 0.9, "top": 0.94, "bottom": 0.09, "hspace": 0.08}
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 6), sharex=True, height_ratios=(3, 1), gridspec_kw=margins
    )
    millions = [line["tokens"] / 1e6 for line in losses]
    above.plot(millions, [line["loss"] for line in losses], color="0.8", linewidth=0.8)
    above.plot(millions, _smooth([line["loss"] for line in losses]), color="tab:blue")
    above.set_ylabel("loss (nats per token)", color="tab:blue")
    above.set_title(run.resolve().name)
    above.grid(alpha=0.3)
    if valid:
        beside = above.twinx()  # another unit
        bits = [line["valid_bits_per_byte"] for line in valid]
        beside.plot([line["tokens"] / 1e6 for line in valid], bits, color="tab:orange", marker="o", markersize=3)
        beside.set_ylabel("validation (bits per byte)", color="tab:orange")
    below.plot(millions, [line["learning_rate"] for line in losses], color="tab:green")
    below.set_ylabel("learning rate")
    below.set_xlabel("million tokens")
    below.grid(alpha=0.3)
    figure.savefig(run / FILE, dpi=120)
    pyplot.close(figure)
    return run / FILE


def _smooth(values: list[float], keep: float = 0.9) -> list[float]:
    """An exponential mean, corrected for its start."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smooth.append(mean / weight)
    return smooth
