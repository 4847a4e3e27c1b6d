"""Speed of preparing a corpus, end to end, beside what `tokenizers` alone reaches on the same text and cores.

    python -m benchmarks.prepare                 # speed, and the share of each step
    python -m benchmarks.prepare --memory        # peak memory at 60 MB and at 600 MB of text

The text is the built-in tales, again and again with some words changed, so that nothing is a copy. Both sides read the
same JSON lines file; the peer encodes its texts with `encode_batch_fast`, the faster of the library's two, and writes
nothing. They take turns; figures are medians. Pause other work first.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import tokenizers

from storygen.data.clean_text import clean
from storygen.data.dedupe import SeenStories, signature
from storygen.data.files import read_file
from storygen.data.filters import FilterConfig, Filters
from storygen.data.prompts import Keywords, draw_prompt
from storygen.data.sources import builtin_tales
from storygen.data.story import ReadReport
from storygen.data.words import Words
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


def prepare(path: Path, out: Path, tokenizer: Path) -> tuple[float, float]:
    """Seconds of a whole run in a process of its own, and processor seconds in all of its processes."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["--input", str(path), "--out", str(out), "--overwrite", "--reuse-tokenizer", str(tokenizer)]
    subprocess.run([sys.executable, "-c", PREPARE, *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def peak_memory(command: list[str]) -> int:
    """The most bytes that a run and its workers held together, looked at ten times a second."""
    process, most = psutil.Popen([sys.executable, "-c", PREPARE, *command], stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            most = max(most, sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]))
        time.sleep(0.1)
    return most


def encode_alone(path: Path, tokenizer: Path) -> float:
    """Seconds of reading the texts and of the library's `encode_batch_fast`, on all cores."""
    encoder = tokenizers.Tokenizer.from_file(str(tokenizer))
    started = time.perf_counter()
    with path.open() as lines:
        texts = [json.loads(line)["text"] for line in lines]
    for first in range(0, len(texts), 1000):
        [encoded.ids for encoded in encoder.encode_batch_fast(texts[first : first + 1000], add_special_tokens=False)]
    return time.perf_counter() - started


def step_costs(path: Path, tokenizer: Path) -> dict[str, float]:
    """Processor seconds of each step for a megabyte, in one process."""
    stories = list(itertools.islice(read_file(path, ReadReport(path.name)), 4000))
    texts = [story.text for story in stories]
    megabytes = sum(map(len, texts)) / 1e6
    filters, encoder, keywords = Filters(FilterConfig()), load_tokenizer(tokenizer), Keywords(texts)
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SeenStories(Path(folder) / "seen.db")) as seen:

        def find_and_add(words: Words) -> None:
            signed = signature(words)
            seen.find(signed)
            seen.add("train", signed)

        words = [Words(text) for text in texts]
        steps: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
            "cleaning": (clean, texts),
            "words and rules": (lambda text: filters.reason(text, Words(text)), texts),
            "copies": (find_and_add, words),
            "prompts": (lambda story: draw_prompt(story, keywords, draw), stories),
            "encoding": (encoder.encode_batch, [texts[first : first + 100] for first in range(0, len(texts), 100)]),
        }
        seconds = {}
        for name, (step, items) in steps.items():
            started = time.process_time()
            for item in items:
                step(item)
            seconds[name] = (time.process_time() - started) / megabytes
    return seconds


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
        theirs, ours = [], []
        for _ in range(TURNS):
            theirs.append(encode_alone(work / "corpus.jsonl", tokenizer))
            ours.append(prepare(work / "corpus.jsonl", work / "out", tokenizer))
        ours_wall, used = (statistics.median(each) for each in zip(*ours, strict=True))
        ours_rate, their_rate = (arguments.megabytes / each for each in (ours_wall, statistics.median(theirs)))
        print(f"{os.cpu_count()} cores, {arguments.megabytes:g} MB of text, medians of {TURNS} turns")
        print(
            f"train.prepare, end to end: {ours_rate:.1f} MB/s; the library's encode_batch_fast alone: "
            f"{their_rate:.1f} MB/s; {ours_rate / their_rate:.0%}"
        )
        costs, total = step_costs(work / "corpus.jsonl", tokenizer), used / arguments.megabytes
        costs["reading, writing, sending, starting"] = total - sum(costs.values())
        print("\n| step | processor seconds for a MB | share |\n|---|---|---|")
        for name, seconds in costs.items():
            print(f"| {name} | {seconds:.3f} | {seconds / total:.0%} |")


if __name__ == "__main__":
    main()
