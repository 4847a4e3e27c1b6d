"""Which recipe learns most in the same time: runs of equal CPU time, one setting changed in each.

    python -m benchmarks.recipes --data runs/mix --minutes 8
    python -m benchmarks.recipes --data runs/mix --corpus vocab-2k=runs/mix2k --corpus vocab-8k=runs/mix8k

Every run has one thread and a budget in minutes of its own CPU time, so what else the machine does changes little, and
its learning rate falls to 0 within it. Figures are bits per byte on the corpus' validation stories. A run that is
already in --out is not made again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from storygen.cli import run

# Budgets are read from the clock; in these runs it shows CPU time.
TRAIN = "import sys, time; time.monotonic = time.process_time; from train.pretrain import main; main(sys.argv[1:])"
COMMON = {
    "valid_every": 10**9, "save_every": 10**9, "sample_every": 10**9, "log_every": 20, "compile": "false",
    "warmup_steps": 10,  # a slow core has no more than fifty steps in all
}  # fmt: skip
TRANSFORMER = {"architecture": "transformer", "optimizer": "muon", "learning_rate": 3e-3, "batch_tokens": 8192}
LSTM = {"architecture": "lstm", "learning_rate": 4e-3, "batch_tokens": 4096}
RUNS: dict[str, dict[str, object]] = {
    "transformer: 6 x 256, Muon 0.02, AdamW 3e-3 for the rest, batch 8,192, context 512": TRANSFORMER,
    "AdamW 2e-3": TRANSFORMER | {"optimizer": "adamw", "learning_rate": 2e-3},
    "AdamW 4e-3": TRANSFORMER | {"optimizer": "adamw", "learning_rate": 4e-3},
    "Muon 0.01": TRANSFORMER | {"muon_learning_rate": 0.01},
    "Muon 0.04": TRANSFORMER | {"muon_learning_rate": 0.04},
    "batch 4,096": TRANSFORMER | {"batch_tokens": 4096},
    "batch 16,384": TRANSFORMER | {"batch_tokens": 16384},
    "context 256": TRANSFORMER | {"context_length": 256},
    "context 256, then 512": TRANSFORMER | {"context_length": 256, "then": {"context_length": 512}},
    "batch 4,096, then 16,384": TRANSFORMER | {"batch_tokens": 4096, "then": {"batch_tokens": 16384}},
    "deeper: 10 x 208": TRANSFORMER | {"num_layers": 10, "hidden_size": 208, "intermediate_size": 544},
    "wider: 3 x 352": TRANSFORMER | {"num_layers": 3, "hidden_size": 352, "intermediate_size": 944},
    "without QK-norm": TRANSFORMER | {"qk_norm": "false"},
    "embedding not tied": TRANSFORMER | {"tie_embeddings": "false"},
    "cosine": TRANSFORMER | {"schedule": "cosine"},
    "lstm: 2 x 576, AdamW 4e-3, batch 4,096": LSTM,
    "lstm, AdamW 2e-3": LSTM | {"learning_rate": 2e-3},
    "lstm, Muon 0.02": LSTM | {"optimizer": "muon"},
    "lstm, batch 8,192": LSTM | {"batch_tokens": 8192},
    "lstm, dropout 0.1": LSTM | {"dropout": 0.1},
}


def train(out: Path, data: Path, minutes: float, settings: dict[str, object]) -> dict[str, float]:
    """One run, or two of half the time if there are settings for `then`: tokens, steps and bits per byte at the end."""
    settings = dict(settings)
    if then := settings.pop("then", None):
        first = train(out / "first", data, minutes / 2, settings | {"decay_share": 0})
        again = settings | then | {"init_from": out / "first" / "best"}
        second = train(out / "second", data, minutes / 2, again)
        return {name: second[name] + (0 if name == "bits_per_byte" else first[name]) for name in second}
    command = [sys.executable, "-c", TRAIN, "--data", str(data), "--out", str(out), "--overwrite"]
    if start := settings.pop("init_from", None):
        command += ["--init-from", str(start)]
    for name, value in {**COMMON, "minutes": minutes, **settings}.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{out.name} failed: {done.stderr[-500:]}")
    training = json.loads((out / "best" / "training.json").read_text())
    return {
        "steps": training["steps"],
        "tokens": training["tokens"],
        "bits_per_byte": training["metrics"]["valid_bits_per_byte"],
    }


def main() -> None:
    """Trains what is missing and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the packed corpus")
    parser.add_argument(
        "--corpus", action="append", default=[], metavar="NAME=FOLDER", help="the same text, packed otherwise"
    )
    parser.add_argument("--minutes", type=float, default=8, help="CPU minutes of each run (default: 8)")
    parser.add_argument("--only", default="", help="runs whose name has this in it")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    arguments = parser.parse_args()
    corpora = dict(text.split("=", 1) for text in arguments.corpus)
    runs = {name: (arguments.data, settings) for name, settings in RUNS.items()}
    runs |= {name: (Path(folder), TRANSFORMER) for name, folder in corpora.items()}
    results = {}
    for name, (data, settings) in tqdm(runs.items(), desc="runs"):
        if arguments.only not in name:
            continue
        out = arguments.out / "".join(letter if letter.isalnum() else "-" for letter in name)
        record, asked = out / "result.json", {"data": str(data), "minutes": arguments.minutes, **COMMON, **settings}
        made = json.loads(record.read_text()) if record.exists() else {}
        if made.get("asked") != asked:
            made = {"asked": asked, **train(out, data, arguments.minutes, settings)}
            record.write_text(json.dumps(made))
        results[name] = made
    print(f"\n{arguments.minutes:g} CPU minutes each, one thread\n")
    print("| run | steps | tokens | bits per byte |\n|---|---|---|---|")
    for name, result in results.items():
        print(f"| {name} | {result['steps']:,} | {result['tokens'] / 1e6:.2f}M | {result['bits_per_byte']:.3f} |")


if __name__ == "__main__":
    run(main)
