"""Parts of a corpus that were prepared apart, by several processes or machines, as one corpus."""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from storygen.data.shards import join_summaries, read_manifest, write_manifest
from storygen.errors import StorygenError

_PART = re.compile(r"part-(\d+)-of-(\d+)")


def part_folder(out: Path, number: int, of: int) -> Path:
    """Where part `number`, from 0, of `of` parts lies."""
    return out / f"part-{number:05d}-of-{of:05d}"


def merge_parts(folder: Path) -> dict[str, Any]:
    """Writes a manifest over the parts in a folder, whose shards stay where they are, and returns it.

    StorygenError if a part is missing, or was made with another tokenizer, chunking or split than the first.
    """
    found = {match: path for path in sorted(folder.iterdir()) if (match := _PART.fullmatch(path.name))}
    if not found:
        raise StorygenError(f"{folder} holds no part-...-of-...; make them with train.prepare --only-shard")
    of = {int(match.group(2)) for match in found}
    missing = sorted(set(range(max(of))) - {int(match.group(1)) for match in found})
    if len(of) > 1:
        raise StorygenError(f"{folder} holds parts of different divisions: of {', '.join(map(str, sorted(of)))}")
    if missing:
        raise StorygenError(f"{folder} lacks part {', '.join(map(str, missing))} of {max(of)}")
    parts = {path.name: read_manifest(path) for path in found.values()}
    first = next(iter(parts.values()))
    for name, part in parts.items():
        for key in ("tokenizer", "chunking", "dtype", "split"):
            if part.get(key) != first.get(key):
                raise StorygenError(f"{folder / name} has another {key} than the first part; prepare it with the same")
    manifest = {
        **{key: first[key] for key in ("tokenizer", "chunking", "dtype", "split") if key in first},
        "fingerprint": hashlib.sha256("".join(p["fingerprint"] for p in parts.values()).encode()).hexdigest(),
        "splits": {split: _merged(parts, split) for split in first["splits"]},
        "files": [file for part in parts.values() for file in part["files"]],
        "inputs": [each for part in parts.values() for each in part["inputs"]],
        "parts": list(parts),
    }
    shutil.copyfile(folder / next(iter(parts)) / "tokenizer.json", folder / "tokenizer.json")
    write_manifest(folder, manifest)
    return manifest


def _merged(parts: dict[str, dict[str, Any]], split: str) -> dict[str, Any]:
    """One split of all parts; a shard's name is told from the merged folder."""
    entries = [(name, part["splits"][split]) for name, part in parts.items()]
    return join_summaries(
        {**entry, "shards": [{**shard, "file": f"{name}/{shard['file']}"} for shard in entry["shards"]]}
        for name, entry in entries
    )
