"""What preparing a corpus has done, for people: report.md and a picture of the stories' lengths."""

from collections import Counter
from pathlib import Path
from typing import Any

from storygen.data.clean_corpus import Counts
from storygen.data.clean_text import STEPS

FILE = "report.md"
PICTURE = "lengths.png"
MEANING = {
    "empty": "nothing was left",
    "short": "fewer words than --min-words",
    "long": "more words than --max-words",
    "letters": "a share of letters below --min-letters",
    "banned": "a banned word or phrase",
    "language": "another than --language",
    "repetition": "lines or runs of words repeat (Gopher rules, --max-repetition)",
    "duplicate": "has come before",
    "in validation": "is a validation story, or nearly",
}


def write_report(folder: Path, manifest: dict[str, Any], counts: Counts) -> None:
    """Writes report.md and lengths.png into the folder of a packed corpus."""
    (folder / FILE).write_text("\n".join(_lines(manifest, counts)) + "\n", encoding="utf-8", errors="replace")
    _draw_lengths(folder / PICTURE, counts.words)


def _lines(manifest: dict[str, Any], counts: Counts) -> list[str]:
    lines = ["# What was prepared", "", "| input | stories | unusable | repaired |", "|---|---|---|---|"]
    for file in manifest["files"]:
        lines.append(f"| {file['file']} | {file['stories']:,} | {file['skipped']:,} | {file['repaired']:,} |")
    problems = [example for file in manifest["files"] for example in file["examples"]]
    lines += ["", *(f"* {_quoted(problem)}" for problem in problems)] if problems else []
    lines += [
        "",
        f"Read {counts.read:,} stories, kept {counts.kept:,} with {counts.characters / 1e6:,.2f} M characters.",
        "",
    ]
    lines += ["| cleaning step, in this order | stories changed |", "|---|---|"]
    lines += [f"| {step} | {counts.changed[step]:,} |" for step in STEPS]
    lines += ["", "| dropped because | stories | share |", "|---|---|---|"]
    for rule, meaning in MEANING.items():
        lines.append(
            f"| {rule}: {meaning} | {counts.dropped[rule]:,} | {counts.dropped[rule] / max(1, counts.read):.2%} |"
        )
    for rule, examples in counts.examples.items():
        lines += ["", f"Dropped as {rule}:", "", *(f"> {_quoted(example) or '(nothing)'}\n>" for example in examples)]
    lines += ["", "| split | stories | MB of text | tokens | bytes a token |", "|---|---|---|---|---|"]
    for name, split in manifest["splits"].items():
        ratio = split["bytes"] / max(1, split["tokens"])
        lines.append(
            f"| {name} | {split['stories']:,} | {split['bytes'] / 1e6:,.2f} | {split['tokens']:,} | {ratio:.2f} |"
        )
    tokenizer = manifest["tokenizer"]
    fits = manifest["tokenizer_fit"]
    fit = (
        f"{fits['bytes_per_token']:.2f} bytes a token, {fits['whole_words']:.0%} of the words whole, "
        f"{fits['unknown']:.3%} of the characters unknown"
    )
    lines += ["", f"Tokenizer: {tokenizer['kind']} of {tokenizer['vocab_size']:,}: {fit}.", ""]
    chunking = ", ".join(f"{name} {value}" for name, value in manifest["chunking"].items())
    lines += [f"Split {manifest['split']}. Chunking for training: {chunking}.", ""]
    return [*lines, f"![Lengths of the kept stories]({PICTURE})"]


def _quoted(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _draw_lengths(path: Path, words: Counter[int]) -> None:
    from matplotlib.figure import Figure  # slow to import

    sizes = range(min(words, default=0), max(words, default=0) + 1)
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.bar([str(2 ** max(0, size - 1)) for size in sizes], [words[size] for size in sizes], color="tab:blue")
    axes.set_xlabel("words, from this number to the next")
    axes.set_ylabel("stories")
    figure.savefig(path, dpi=100)
