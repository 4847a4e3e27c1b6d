"""Kinds and sizes of tokenizers side by side: `python -m train.prepare compare-tokenizers --source tales`.

Each is trained on a sample of the training text and measured on the validation text, or on a part of the sample that
was kept out.
"""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from storygen.cli import Parser
from storygen.data.clean_corpus import Input
from storygen.data.clean_text import clean
from storygen.data.sources import divide
from storygen.data.story import ReadReport
from storygen.data.survey import Sample
from storygen.errors import StorygenError
from storygen.tokenizers import KINDS, train_tokenizer
from storygen.tokenizers.figures import measure_tokenizer

SIZES = (1024, 2048, 4096, 8192)
HELD_OUT = 10
"""Without validation stories every so manieth text of the sample is kept out of training."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line and prints a Markdown table."""
    parser = Parser(prog="python -m train.prepare compare-tokenizers", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--source", "--input", nargs="+", required=True, help="as of train.prepare")
    parser.add_argument("--valid", nargs="+", default=[], help="as of train.prepare")
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=SIZES, help=f"tokens (default: {' '.join(map(str, SIZES))})"
    )
    parser.add_argument("--sample-mb", type=int, default=5, help="millions of characters to train on (default: 5)")
    arguments = parser.parse_args(argv)
    valid, train, _ = divide(arguments.source, arguments.valid)
    texts, held_out = (sample_texts(inputs, arguments.sample_mb * 1_000_000) for inputs in (train, valid))
    if not held_out:
        held_out, texts = texts[::HELD_OUT], [text for n, text in enumerate(texts) if n % HELD_OUT]
    if not texts or not held_out:
        raise StorygenError("there is too little text to train and measure a tokenizer")
    print("\n".join(table(texts, held_out, arguments.sizes)))


def sample_texts(inputs: Sequence[Input], limit: int) -> list[str]:
    """A uniform sample of the inputs' clean texts, at most so many characters."""
    sample = Sample(limit)
    for source in inputs:
        report = ReadReport(source.name)
        for story in tqdm(source.stories(report), source.name, unit="story", disable=None, leave=False):
            if text := clean(story.text):
                sample.add(text)
        for example in report.examples:
            print(f"note: {example}", file=sys.stderr)
    return sample.texts


def table(texts: Sequence[str], held_out: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The lines of a Markdown table; a size that a kind can't have is left out, as is the char tokenizer's."""
    lines = ["| tokenizer | tokens | bytes a token | words kept whole | unknown characters |", "|---|---|---|---|---|"]
    asked = [(kind, size) for kind in KINDS for size in (sizes if kind != "char" else sizes[:1])]
    for kind, size in tqdm(asked, "training", unit="tokenizer", disable=None, leave=False):
        try:
            tokenizer = train_tokenizer(kind, texts, size)
        except StorygenError as error:
            lines.append(f"| {kind} | {size:,} | {error} | | |")
            continue
        figures = measure_tokenizer(tokenizer, held_out)
        lines.append(
            f"| {kind} | {tokenizer.vocab_size:,} | {figures.bytes_per_token:.2f} | {figures.whole_words:.0%} | "
            f"{figures.unknown:.3%} |"
        )
    return lines
