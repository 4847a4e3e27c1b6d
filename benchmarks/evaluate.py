"""Speed and memory of measuring likelihood, beside nothing but the model's forward passes over the same batches.

    python -m benchmarks.evaluate                # speed of both architectures
    python -m benchmarks.evaluate --memory       # peak memory of 10,000 and of 100,000 short stories

The text is the built-in validation tales. Likelihood is timed from text to figure: tokens, batches, forward passes,
probabilities, sums. The peer is given its batches ready-made. They take turns; figures are medians. Pause other work
first. Memory is that of a process of its own with a small model, as the model's size does not change with the text.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from storygen import artifact
from storygen.config import LSTMConfig
from storygen.data.files import read_files
from storygen.data.sources import builtin_tales
from storygen.evaluation.likelihood import batches_to_score, text_likelihood
from storygen.models import build_model
from storygen.tokenizers import load_tokenizer
from storygen.training.hardware import peak_memory

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
TURNS = 5


def tales() -> list[str]:
    """The texts of the built-in validation stories."""
    return [story.text for story in read_files(builtin_tales()[1])]


def speed(name: str) -> tuple[float, float, int]:
    """Seconds of the forward passes alone and of the whole measurement, medians, and the tokens scored."""
    loaded, texts = artifact.load(CHECKPOINTS / name), tales()
    model, tokenizer = loaded.model, loaded.tokenizer
    stories = [tokenizer.framed(tokenizer.encode(text)) for text in texts]
    batches = [inputs for inputs, _ in batches_to_score(stories, model.config.context_length)]
    alone, whole = [], []
    for turn in range(TURNS + 1):
        started = time.perf_counter()
        with torch.inference_mode():
            for inputs in batches:
                model(inputs)
        middle = time.perf_counter()
        text_likelihood(model, tokenizer, texts)
        if turn:  # the first one only warms up
            alone.append(middle - started)
            whole.append(time.perf_counter() - middle)
    return statistics.median(alone), statistics.median(whole), sum(len(story) - 1 for story in stories)


def measure_many(count: int) -> None:
    """Measures so many short stories, the tales' first words again and again, and prints the peak memory in bytes."""
    tokenizer = load_tokenizer(CHECKPOINTS / "char-lstm" / artifact.TOKENIZER)
    model = build_model(LSTMConfig(vocab_size=tokenizer.vocab_size, embedding_size=8, hidden_size=8, num_layers=1))
    openings = [text[:120] for text in tales()]

    def texts() -> Iterator[str]:
        yield from itertools.islice(itertools.cycle(openings), count)

    text_likelihood(model, tokenizer, texts())
    print(peak_memory(torch.device("cpu")))


def main() -> None:
    """Prints figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.count:
        measure_many(arguments.count)
        return
    if arguments.memory:
        for count in (10_000, 100_000):
            command = [sys.executable, "-m", "benchmarks.evaluate", "--count", str(count)]
            peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{count:,} stories: {peak / 1e6:.0f} MB", flush=True)
        return
    print(f"{torch.get_num_threads()} threads, medians of {TURNS} turns\n")
    print("| | forward alone, tokens/s | likelihood, tokens/s | ratio |\n|---|---|---|---|")
    for name in ("transformer", "lstm"):
        alone, whole, tokens = speed(name)
        print(f"| {name} | {tokens / alone:,.0f} | {tokens / whole:,.0f} | {alone / whole:.0%} |", flush=True)


if __name__ == "__main__":
    main()
