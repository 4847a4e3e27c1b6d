"""Measures models on texts: `python -m train.evaluate --model checkpoints/transformer --text tales.valid.jsonl.gz`.

Prints a Markdown table of bits per byte, one row a text, one column a model; the method is that of
`storygen.evaluation.likelihood`.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from storygen.cli import Parser, run
from storygen.data.sources import SOURCES, ReadReport, find_files, read_file
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import Likelihood, text_likelihood
from storygen.writer import Writer, load


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.evaluate", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--model", nargs="+", required=True, help="model folders or Hub repositories")
    parser.add_argument("--text", nargs="+", default=[], help="story files; default: the built-in tales.valid")
    arguments = parser.parse_args(argv)
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    writers = [load(model) for model in arguments.model]
    names = [writer.name + ("" if writer.tokenizer.lossless else " (lossy)") for writer in writers]
    rows = {name: [measure(writer, stories, name) for writer in writers] for name, stories in texts.items()}
    print("\n".join(table(names, rows)))
    if any(not writer.tokenizer.lossless for writer in writers):
        print("lossy: this tokenizer left out what it can't represent, so its figure is too good")


def text_files(given: Sequence[str]) -> list[Path]:
    """The files that the command line names, or the built-in validation stories."""
    return find_files(given) if given else SOURCES["tales"]()[1]


def named(files: Sequence[Path]) -> dict[str, Path]:
    """Each file by its name, or by its path where two have the same name."""
    names = Counter(file.name for file in files)
    return {file.name if names[file.name] == 1 else str(file): file for file in files}


def read_texts(file: Path) -> list[str]:
    """The texts of a story file, as they are; lines that can't be used are reported on standard error."""
    report = ReadReport(file.name)
    texts = [story.text for story in read_file(file, report) if story.text.strip()]
    for example in report.examples:
        print(f"note: {example}", file=sys.stderr)
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
