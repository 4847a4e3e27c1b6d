"""Measures models on texts: `python -m train.evaluate --model checkpoints/transformer --text tales.valid.jsonl.gz`.

Prints Markdown tables, one column a model: bits per byte of each text (`storygen.evaluation.likelihood`), and with
`--stories 100` what readers notice of stories that are written for that many held-out prompts
(`storygen.evaluation.stories`).
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from storygen.card import STORIES
from storygen.cli import Parser, run
from storygen.data.files import find_files, read_file
from storygen.data.sources import builtin_tales
from storygen.data.story import ReadReport
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import Likelihood, text_likelihood
from storygen.evaluation.stories import OTHERS, judge, true_prompt_wins, write_for
from storygen.writer import Writer, load


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.evaluate", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--model", nargs="+", required=True, help="model folders or Hub repositories")
    parser.add_argument("--text", nargs="+", default=[], help="story files; default: the built-in tales.valid")
    parser.add_argument(
        "--stories", type=int, default=0, metavar="N", help="also write and judge stories for the first N prompts"
    )
    parser.add_argument(
        "--prompts", nargs="+", default=[], help="story files with prompts or titles for them; default: as --text"
    )
    arguments = parser.parse_args(argv)
    if arguments.stories < 0:
        raise StorygenError(f"--stories is {arguments.stories}; it must be 0 or more")
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    writers = [load(model) for model in arguments.model]
    names = [writer.name + ("" if writer.tokenizer.lossless else " (lossy)") for writer in writers]
    rows = {name: [measure(writer, stories, name) for writer in writers] for name, stories in texts.items()}
    print("\n".join(table(names, rows)))
    if any(not writer.tokenizer.lossless for writer in writers):
        print("lossy: this tokenizer left out what it can't represent, so its figure is too good")
    if arguments.stories:
        asked = read_prompts(text_files(arguments.prompts or arguments.text), arguments.stories)
        columns = [measure_stories(writer, asked) for writer in writers]
        print()
        print("\n".join(stories_table([writer.name for writer in writers], columns)))


def text_files(given: Sequence[str]) -> list[Path]:
    """The files that the command line names, or the built-in validation stories."""
    return find_files(given) if given else builtin_tales()[1]


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


def read_prompts(files: Sequence[Path], count: int) -> list[tuple[str, str]]:
    """The first (prompt or title, text) pairs of the files."""
    stories = (story for file in files for story in read_file(file, ReadReport(file.name)))
    asked = ((story.prompt or story.title, story.text) for story in stories if story.prompt or story.title)
    pairs = list(itertools.islice(asked, count))
    if not pairs:
        raise StorygenError("no story of the files has a prompt or a title; name others with --prompts")
    return pairs


def measure_stories(writer: Writer, asked: Sequence[tuple[str, str]]) -> dict[str, float]:
    """What readers notice of a model's stories, and how often it finds a text likeliest after its own prompt."""
    prompts = [prompt for prompt, _ in asked]
    written = tqdm(write_for(writer, prompts), f"{writer.name} writes", len(prompts), unit="story", disable=None)
    figures = asdict(judge(prompts, written))
    if len(set(prompts)) > OTHERS:
        wins = true_prompt_wins(writer.model, writer.tokenizer, asked)
        wins = list(tqdm(wins, f"{writer.name} ranks", len(asked), unit="story", disable=None))
        figures["true_prompt_wins"] = sum(wins) / len(wins)
    return figures


def stories_table(names: Sequence[str], columns: Sequence[dict[str, float]]) -> Iterator[str]:
    """The lines of a Markdown table of shares."""
    yield f"| {columns[0]['stories']} stories for held-out prompts | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for key, label in STORIES.items():
        if key in columns[0]:
            yield f"| {label} | " + " | ".join(f"{column[key]:.0%}" for column in columns) + " |"
    yield "| mean words | " + " | ".join(f"{column['words']:.0f}" for column in columns) + " |"


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
