"""The log of a run: one JSON object a line, each with its step."""

import json
from pathlib import Path
from typing import Any

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
        work = self.path.with_name(FILE + ".unfinished")
        work.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        work.replace(self.path)
