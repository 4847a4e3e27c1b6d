"""The log of a run: one JSON object a line, each with its step."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from storygen.folders import write_whole
from storygen.training.hardware import peak_memory
from storygen.training.machine import Machine

FILE = "log.jsonl"


class RunLog:
    """Appends to log.jsonl in the folder of a run."""

    def __init__(self, run: Path) -> None:
        self.path = run / FILE

    def write(self, **values: Any) -> None:
        """Adds a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All lines that have a step; one that a crash has cut is left out."""
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
        return lines

    def rewind(self, step: int) -> None:
        """Drops what was written after a step, as a resumed run will write it again."""
        kept = [line for line in self.read() if line["step"] <= step]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept))


@dataclass
class Interval:
    """What happened since the last line of the log."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Of the steps alone, without validations, samples and checkpoints."""
    clipped: int = 0
    loss: float = math.nan
    """Of the last step, as the next one."""
    gradient_norm: float = math.nan

    def add(self, loss: float, gradient_norm: float, tokens: int, clipped: bool, seconds: float) -> None:
        """Counts a step."""
        self.loss, self.gradient_norm = loss, gradient_norm
        self.steps += 1
        self.tokens += tokens
        self.clipped += clipped
        self.seconds += seconds

    def figures(self, machine: Machine) -> dict[str, float]:
        """What the log says of it."""
        rate = self.tokens / self.seconds
        last = {"loss": round(self.loss, 6), "gradient_norm": round(self.gradient_norm, 4)}
        return {
            **{name: value for name, value in last.items() if math.isfinite(value)},  # JSON has no NaN
            "clipped": round(self.clipped / self.steps, 2),
            "tokens_per_second": round(rate, 1),
            "matmul_share": round(rate * machine.flops_per_token / machine.matmul_flops, 3),
            "memory_gb": round(peak_memory(torch.device(machine.device)) / 1e9, 2),
        }
