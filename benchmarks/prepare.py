"""Speed of preparing a corpus, end to end, beside what `tokenizers` alone reaches on the same text and cores.

    python -m benchmarks.prepare                 # speed, and the share of each step
    python -m benchmarks.prepare --memory        # peak memory at 60 MB and at 600 MB of text

The text is the built-in tales, again and again with some words changed, so that nothing is a copy. Both sides read the
same JSON lines file; the peer encodes its texts with `encode_batch` and writes nothing. They take turns; figures are
medians. Pause other work first.
"""

import argparse
import contextlib
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from storygen.data.clean_text import clean
from storygen.data.dedupe import exact_key, signature, words_of
from storygen.data.filters import FilterConfig, Filters
from storygen.data.sources import builtin_tales
from storygen.tokenizers import load_tokenizer

TURNS = 3
NOISE = 0.3
"""Share of words that are changed: copies in which fewer are would be dropped."""
PREPARE = "import sys; from storygen.cli import run; from train.prepare import main; run(lambda: main(sys.argv[1:]))"


def write_corpus(path: Path, megabytes: float) -> None:
    """Tales with other words, as JSON lines, until there are so many megabytes of text."""
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        stories = [json.loads(line) for line in lines]
    words = sorted({word for story in stories for word in story["text"].split()})
    draw, size = random.Random(0), 0.0
    with path.open("w") as file:
        while size < megabytes * 1e6:
            story = draw.choice(stories)
            parts = story["text"].split(" ")
            text = " ".join(draw.choice(words) if draw.random() < NOISE else part for part in parts)
            file.write(json.dumps({**story, "text": text}) + "\n")
            size += len(text)


def prepare(path: Path, out: Path, tokenizer: Path) -> float:
    """Seconds of a whole run in a process of its own."""
    started = time.perf_counter()
    command = ["--input", str(path), "--out", str(out), "--overwrite", "--reuse-tokenizer", str(tokenizer)]
    subprocess.run([sys.executable, "-c", PREPARE, *command], check=True, capture_output=True)
    return time.perf_counter() - started


def peak_memory(command: list[str]) -> int:
    """The most bytes that a run and its workers held together, looked at ten times a second."""
    process, most = psutil.Popen([sys.executable, "-c", PREPARE, *command], stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            most = max(most, sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]))
        time.sleep(0.1)
    return most


def encode_alone(path: Path, tokenizer: Path) -> float:
    """Seconds of reading the texts and `encode_batch`, on all cores."""
    encoder = load_tokenizer(tokenizer)
    started = time.perf_counter()
    with path.open() as lines:
        texts = [json.loads(line)["text"] for line in lines]
    for first in range(0, len(texts), 1000):
        encoder.encode_batch(texts[first : first + 1000])
    return time.perf_counter() - started


def step_shares(path: Path, tokenizer: Path) -> dict[str, float]:
    """CPU seconds of each step for a megabyte, in one process."""
    with path.open() as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(2000), lines, strict=False)]
    megabytes = sum(map(len, texts)) / 1e6
    filters, encoder = Filters(FilterConfig()), load_tokenizer(tokenizer)
    steps = {
        "cleaning": clean,
        "filters": filters.reason,
        "copies": lambda text: (exact_key(words_of(text)), signature(words_of(text))),
        "encoding": encoder.encode,
    }
    seconds: Counter[str] = Counter()
    for name, step in steps.items():
        step(texts[0])
        started = time.process_time()
        for text in texts:
            step(text)
        seconds[name] = (time.process_time() - started) / megabytes
    return dict(seconds)


def main() -> None:
    """Prints figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=60, help="of text (default: 60)")
    parser.add_argument(
        "--memory", action="store_true", help="measure peak memory instead, at this size and ten times it"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run(
            [sys.executable, "-m", "train.prepare", "--source", "tales", "--out", str(work / "tales")],
            check=True, capture_output=True,
        )  # fmt: skip
        tokenizer = work / "tales" / "tokenizer.json"
        if arguments.memory:
            for megabytes in (arguments.megabytes, 10 * arguments.megabytes):
                write_corpus(work / "corpus.jsonl", megabytes)
                command = ["--input", str(work / "corpus.jsonl"), "--out", str(work / "out"), "--overwrite"]
                print(f"{megabytes:g} MB of text: {peak_memory(command) / 1e6:.0f} MB in all processes", flush=True)
            return
        write_corpus(work / "corpus.jsonl", arguments.megabytes)
        ours, theirs = [], []
        for _ in range(TURNS):
            theirs.append(encode_alone(work / "corpus.jsonl", tokenizer))
            ours.append(prepare(work / "corpus.jsonl", work / "out", tokenizer))
        each = [arguments.megabytes / statistics.median(seconds) for seconds in (ours, theirs)]
        print(f"{os.cpu_count()} cores, {arguments.megabytes:g} MB of text, medians of {TURNS} turns")
        print(
            f"train.prepare, end to end: {each[0]:.1f} MB/s; encode_batch alone: {each[1]:.1f} MB/s; "
            f"{each[0] / each[1]:.0%}"
        )
        shares = step_shares(work / "corpus.jsonl", tokenizer)
        total = sum(shares.values())
        print("\n| step | CPU seconds for a MB | share |\n|---|---|---|")
        for name, seconds in shares.items():
            print(f"| {name} | {seconds:.3f} | {seconds / total:.0%} |")


if __name__ == "__main__":
    main()
