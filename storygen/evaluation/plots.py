"""The record of an evaluation as a picture."""

from pathlib import Path
from typing import Any

LIKELIHOOD = "likelihood.png"


def draw_likelihood(record: dict[str, Any], folder: Path) -> Path | None:
    """Bits per byte of models, with intervals, and of baselines: a group of bars for each text, if there are any."""
    from matplotlib.figure import Figure  # slow to import

    models = {name: entry["likelihood"]["texts"] for name, entry in record["models"].items() if "likelihood" in entry}
    if not models:
        return None
    baselines = record.get("baselines", {}).get("texts", {})
    texts = list(dict.fromkeys(text for figures in models.values() for text in figures))
    width = 0.8 / (len(models) + len(baselines))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, figures) in enumerate([*models.items(), *baselines.items()]):
        places = [place + number * width for place, text in enumerate(texts) if text in figures]
        shown = [figures[text] for text in texts if text in figures]
        if name in models:
            lossless = record["models"][name]["tokenizer"]["lossless"]
            values = [each["bits_per_byte"] for each in shown]
            ends = [each["interval"] or [each["bits_per_byte"]] * 2 for each in shown]
            errors = [[value - low for value, (low, _) in zip(values, ends, strict=True)],
                      [high - value for value, (_, high) in zip(values, ends, strict=True)]]  # fmt: skip
            label = name if lossless else f"{name} (lossy)"
            axes.bar(places, values, width, yerr=errors, capsize=2, label=label)
        else:
            axes.bar(places, shown, width, label=name, color=str(0.5 + 0.1 * (number - len(models))))
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(texts))], texts)
    axes.set_ylabel("bits per byte, lower is better")
    figure.legend(loc="outside upper center", ncols=min(6, len(models) + len(baselines)))
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(folder / LIKELIHOOD, dpi=120)
    return folder / LIKELIHOOD
