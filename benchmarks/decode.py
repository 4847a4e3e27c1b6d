"""Decoding speed of the released models, beside `transformers` on the same exported weights and the machine's limits.

    python -m benchmarks.decode

Each figure is a median of several runs; each contender has a process of its own, as in one process the threads of one
slow the other, and they take turns, so that a busy moment hits them alike. Pause other work first. `transformers` runs
with its defaults; the temperature is 0.8 and top-p 0.95, from a prompt of ten tokens, and no story ends early.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from storygen import artifact
from storygen.config import GenerationConfig
from storygen.decoding import Engine
from storygen.decoding.stepper import STEPPER, single_threaded
from storygen.models import LanguageModel
from storygen.models.compiled import compile_step
from storygen.models.linear import pack, packed_product
from storygen.training.hardware import matmul_rate, median_seconds

ROOT = Path(__file__).parents[1]
TOKENS, STREAMS, BEAMS, PROMPT, REPEATS, ROUNDS = 256, 16, 4, 10, 3, 3
NO_END = -1


def prompt_of(length: int) -> list[int]:
    """The same token ids for everyone."""
    return torch.randint(0, 4000, (length,), generator=torch.Generator().manual_seed(length)).tolist()


class TimedEngine(Engine):
    """Notes how long each step takes."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model, NO_END)
        self.seconds: list[float] = []

    def step(self) -> None:
        started = time.perf_counter()
        super().step()
        self.seconds.append(time.perf_counter() - started)


def measure_ours(name: str, compile: bool = False) -> dict[str, float]:
    """Our engine: tokens per second, and seconds of single steps."""
    with single_threaded():
        model = artifact.load(ROOT / "checkpoints" / name).model
    if compile:
        STEPPER.run(lambda: compile_step(model))
    engine = TimedEngine(model)
    sampled = GenerationConfig(strategy="top_p", top_p=0.95, temperature=0.8, max_new_tokens=TOKENS)
    searched = GenerationConfig(strategy="beam", num_beams=BEAMS, max_new_tokens=TOKENS)

    def write(config: GenerationConfig, streams: int = 1) -> None:
        generations = [engine.submit(prompt_of(PROMPT), config.replace(seed=seed)) for seed in range(streams)]
        for generation in generations:
            for _ in generation:
                pass

    figures = {
        "stream": TOKENS / median_seconds(lambda: write(sampled), REPEATS),
        "streams": STREAMS * TOKENS / median_seconds(lambda: write(sampled, STREAMS), REPEATS),
        "beam": TOKENS / median_seconds(lambda: write(searched), REPEATS),
    }
    early, late = [], []
    for _ in range(REPEATS):
        engine.seconds.clear()
        write(sampled.replace(max_new_tokens=510))
        early += engine.seconds[15:25]
        late += engine.seconds[495:505]
    figures |= {"token 20": statistics.median(early), "token 500": statistics.median(late)}
    first = []
    for seed in range(15):
        generation = engine.submit(prompt_of(300), sampled.replace(seed=seed, max_new_tokens=5))
        for _ in generation:
            pass
        first.append(generation.seconds_to_first_token)
    return figures | {"first token": statistics.median(first[1:])}


@torch.inference_mode()
def measure_limits(name: str) -> dict[str, float]:
    """What the machine and the model's shape allow."""
    model = artifact.load(ROOT / "checkpoints" / name).model
    prompt = torch.tensor([prompt_of(300)])
    weights = torch.randn(model.num_parameters)
    square, row = torch.randn(2048, 2048), torch.randn(STREAMS, 2048)
    packed = pack(square)
    return {
        "forward": median_seconds(lambda: model(prompt), 15),
        "bytes": 4.0 * model.num_parameters,
        "bandwidth": 4 * weights.numel() / median_seconds(weights.sum, 30),
        "matmul": matmul_rate(torch.device("cpu")),
        "oneDNN matmul": 2 * 2048**3 / median_seconds(lambda: packed_product(square, packed), REPEATS),
        "oneDNN 16 rows": 2 * STREAMS * 2048**2 / median_seconds(lambda: packed_product(row, packed), 30),
    }


@torch.inference_mode()
def measure_transformers(name: str) -> dict[str, float]:
    """`generate` of the `transformers` library with the same weights: tokens per second."""
    import transformers

    from storygen.export import export_transformers

    with tempfile.TemporaryDirectory() as folder:
        export_transformers(artifact.load(ROOT / "checkpoints" / name), Path(folder) / "model")
        model = transformers.AutoModelForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    sampling = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}

    def write(rows: int = 1, **settings: object) -> None:
        tokens = torch.tensor([prompt_of(PROMPT)] * rows)
        mask = torch.ones_like(tokens)
        model.generate(tokens, attention_mask=mask, max_new_tokens=TOKENS, pad_token_id=0, **settings)

    return {
        "stream": TOKENS / median_seconds(lambda: write(**sampling), REPEATS),
        "streams": STREAMS * TOKENS / median_seconds(lambda: write(STREAMS, **sampling), REPEATS),
        "beam": TOKENS / median_seconds(lambda: write(num_beams=BEAMS, do_sample=False), REPEATS),
    }


CONTENDERS: dict[str, Callable[[str], dict[str, float]]] = {
    "ours": measure_ours,
    "compiled": lambda name: measure_ours(name, compile=True),
    "limits": measure_limits,
    "transformers": measure_transformers,
}
OF_LSTM = ("ours", "limits")


def run_contender(contender: str, name: str) -> dict[str, float]:
    """The figures of a contender, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.decode", "--contender", contender, "--model", name]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def report(name: str, figures: dict[str, dict[str, float]]) -> None:
    """Prints the tables of one model."""
    limits, theirs = figures["limits"], figures.get("transformers")
    ways = {"plain": figures["ours"]} | ({"compiled": figures["compiled"]} if "compiled" in figures else {})
    print(f"\n## {name}\n\n| tokens/s | {' | '.join(ways)} | `transformers` | ratio |")
    print("|---" * (len(ways) + 3) + "|")
    rows = {"stream": "one stream, top-p", "streams": f"{STREAMS} streams, top-p", "beam": f"beam {BEAMS}"}
    for key, what in rows.items():
        speeds = " | ".join(f"{way[key]:,.0f}" for way in ways.values())
        ratios = ", ".join(f"{way[key] / theirs[key]:.1f}" for way in ways.values()) if theirs else "-"
        print(f"| {what} | {speeds} | {f'{theirs[key]:,.0f}' if theirs else '-'} | {ratios} |")
    floor = limits["bytes"] / limits["bandwidth"]
    for way, ours in ways.items():
        print(f"\n{way}: {STREAMS} streams are {ours['streams'] / ours['stream']:.1f} times one stream;", end=" ")
        print(f"token 500 takes {1000 * ours['token 500']:.2f} ms, token 20 {1000 * ours['token 20']:.2f} ms", end=" ")
        print(f"({ours['token 500'] / ours['token 20']:.2f});", end=" ")
        print(f"first token after a prompt of 300 {1000 * ours['first token']:.1f} ms, a forward pass", end=" ")
        print(f"{1000 * limits['forward']:.1f} ms ({ours['first token'] / limits['forward']:.2f});", end=" ")
        print(f"a token takes {1 / ours['stream'] / floor:.1f} times the floor.")
    print(
        f"\nFloor: {limits['bytes'] / 1e6:.1f} MB of weights at {limits['bandwidth'] / 1e9:.0f} GB/s, "
        f"{1000 * floor:.2f} ms a token. float32 products: torch.matmul {limits['matmul'] / 1e9:.0f} GFLOP/s, oneDNN "
        f"{limits['oneDNN matmul'] / 1e9:.0f}, with {STREAMS} rows {limits['oneDNN 16 rows'] / 1e9:.0f}; {STREAMS} "
        f"streams use {2 * ways['plain']['streams'] * limits['bytes'] / 4 / 1e9:.0f}."
    )


def main() -> None:
    """Runs all contenders in turn and prints Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each contender")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="transformer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(CONTENDERS[arguments.contender](arguments.model)))
        return
    print(f"{torch.get_num_threads()} threads, {TOKENS} tokens a story, medians of {arguments.rounds} turns")
    for name in ("transformer", "lstm"):
        contenders = CONTENDERS if name == "transformer" else OF_LSTM
        turns = [{c: run_contender(c, name) for c in contenders} for _ in range(arguments.rounds)]
        figures = {
            c: {key: statistics.median(turn[c][key] for turn in turns) for key in turns[0][c]} for c in contenders
        }
        report(name, figures)


if __name__ == "__main__":
    main()
