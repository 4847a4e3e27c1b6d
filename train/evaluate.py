"""Measures models on texts: `python -m train.evaluate --model checkpoints/transformer --text tales.valid.jsonl.gz`.

Prints a Markdown table of bits per byte, one row a text, one column a model; the method is that of
`storygen.evaluation.likelihood`.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from storygen.cli import run
from storygen.data.sources import SOURCES, ReadReport, find_files, read_file
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import Likelihood, text_likelihood
from storygen.writer import Writer, load


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--model", nargs="+", required=True, help="model folders or Hub repositories")
    parser.add_argument("--text", nargs="+", default=[], help="story files; default: the built-in tales.valid")
    arguments = parser.parse_args(argv)
    files = find_files(arguments.text) if arguments.text else SOURCES["tales"]()[1]
    texts = {file: read_texts(file) for file in files}
    writers = [load(model) for model in arguments.model]
    rows = {file.name: [measure(writer, texts[file], file.name) for writer in writers] for file in files}
    print("\n".join(table([writer.name for writer in writers], rows)))


def read_texts(file: Path) -> list[str]:
    """The texts of a story file, as they are."""
    texts = [story.text for story in read_file(file, ReadReport(file.name)) if story.text.strip()]
    if not texts:
        raise StorygenError(f"{file} holds no story")
    return texts


def measure(writer: Writer, texts: Sequence[str], doing: str) -> Likelihood:
    """The likelihood of the texts, with a progress bar."""
    bar = tqdm(texts, desc=f"{writer.name} on {doing}", unit="story", disable=None, leave=False)
    return text_likelihood(writer.model, writer.tokenizer, bar)


def table(names: Sequence[str], rows: dict[str, list[Likelihood]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| bits per byte | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for name, values in rows.items():
        yield f"| {name} | " + " | ".join(f"{value.bits_per_byte:.3f}" for value in values) + " |"


if __name__ == "__main__":
    run(main)
