"""How long it takes to rank many votes, and to read them from disk.

    python -m benchmarks.ranking

Reading is measured on a shard of full records with two stories each, beside `json.loads` of the same lines; the page
reads all of them at its start, and later only what is new. Ranking: twelve contestants, simulated raters, 200 bootstrap
replicates. Times are the processor's, so that other work on the machine hardly changes them.
"""

import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from storygen.arena.ledger import Ledger
from storygen.arena.ranking import rank, rank_parts
from storygen.arena.simulate import World, draw_ballots
from storygen.arena.votes import VoteReader
from storygen.config import GenerationConfig

READ = 100_000
STORY = "Once upon a time there was a fox who lived by the sea and told nobody. " * 10


def write_votes(folder: Path, count: int) -> None:
    """Full records of as many votes, in one shard."""
    configs = [GenerationConfig(strategy=name, seed=1).to_dict() for name in ("top_p", "top_k", "sample", "greedy")]
    with (folder / "votes.jsonl").open("w") as shard:
        for i in range(count):
            left, right = (
                {
                    "model": f"model {n % 3}", "revision": "r", "config": configs[n % 4], "seed": i,
                    "text": f"{n} {STORY}", "logprob": -300.0, "bytes": 700, "finish_reason": "end",
                }
                for n in (i, i + 1)
            )  # fmt: skip
            vote = {
                "schema": 1, "id": f"{i:032x}", "ts": "2026-11-25T00:00:00", "battle_id": f"b{i}", "mode": "blind",
                "rater": f"rater {i % 5000}", "prompt": {"title": "The Fox", "opening": ""}, "verdict": "left",
                "prompt_source": "user", "left": left, "right": right, "tags": [], "note": "", "dwell_ms": 60_000,
            }  # fmt: skip
            shard.write(json.dumps(vote) + "\n")


def read_votes(folder: Path) -> None:
    """Prints how long reading all votes takes, and then looking for more."""
    [shard] = folder.iterdir()
    ledger, before = Ledger(VoteReader(folder)), peak_memory()
    began = time.process_time()
    ledger.refresh()
    taken = time.process_time() - began
    kept = peak_memory() - before
    began = time.process_time()
    with shard.open("rb") as lines:
        for line in lines:
            json.loads(line)
    alone = time.process_time() - began
    print(f"reading {len(ledger):,} votes ({shard.stat().st_size / 1e6:.0f} MB): {taken:.1f} s, memory {kept:.0f} MB")
    print(f"that is {taken / alone:.1f} times json.loads of their lines alone, {alone:.1f} s")
    began = time.process_time()
    ledger.refresh()
    print(f"looking for new ones: {1000 * (time.process_time() - began):.2f} ms\n")


def rank_votes(votes: int, rng: np.random.Generator) -> None:
    """Prints how long rankings of so many votes take."""
    ballots = draw_ballots(World(rng.normal(0, 0.7, 12), raters=votes // 20), votes, rng)
    began = time.process_time()
    rank(ballots)
    alone = time.process_time() - began
    began = time.process_time()
    rank_parts(ballots, [[f"m{i % 3}" for i in range(12)], [f"d{i // 3}" for i in range(12)]])
    print(f"| {votes:,} | {alone:.2f} s | {time.process_time() - began:.2f} s |")


def peak_memory() -> float:
    """The most that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Prints both."""
    with tempfile.TemporaryDirectory() as folder:
        write_votes(Path(folder), READ)
        read_votes(Path(folder))
    rng = np.random.default_rng(0)
    print("| votes | one ranking | rankings of models and decodings |\n|---|---|---|")
    for votes in (10_000, 100_000, 1_000_000):
        rank_votes(votes, rng)
    print(f"\npeak memory: {peak_memory():.0f} MB")


if __name__ == "__main__":
    main()
