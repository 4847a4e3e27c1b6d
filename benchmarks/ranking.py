"""How long it takes to rank many votes, and to read them from disk.

    python -m benchmarks.ranking

Twelve contestants, simulated raters, 200 bootstrap replicates. Reading is measured on shards of full records with two
stories each; the page reads only what is new.
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


def main() -> None:
    """Prints a table."""
    rng = np.random.default_rng(0)
    print("| votes | one ranking | rankings of models and decodings |\n|---|---|---|")
    for votes in (10_000, 100_000, 1_000_000):
        ballots = draw_ballots(World(rng.normal(0, 0.7, 12), raters=votes // 20), votes, rng)
        began = time.perf_counter()
        rank(ballots)
        alone = time.perf_counter() - began
        began = time.perf_counter()
        rank_parts(ballots, [[f"m{i % 3}" for i in range(12)], [f"d{i // 3}" for i in range(12)]])
        print(f"| {votes:,} | {alone:.2f} s | {time.perf_counter() - began:.2f} s |")
    with tempfile.TemporaryDirectory() as folder:
        write_votes(Path(folder), READ)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        ledger = Ledger(VoteReader(folder))
        began = time.perf_counter()
        ledger.refresh()
        print(f"\nreading {len(ledger):,} votes ({size / 1e6:.0f} MB): {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        ledger.refresh()
        print(f"looking for new ones: {1000 * (time.perf_counter() - began):.2f} ms")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
