"""Recipes: TOML files that determine a run, and single settings given as text."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from storygen.config import LSTMConfig, TransformerConfig, read_toml, unknown_name
from storygen.errors import StorygenError
from storygen.training.settings import TrainConfig

FILE = "recipe.toml"
Recipe = dict[str, dict[str, Any]]
"""[model]: architecture and shape; [train]: a TrainConfig. In the one that a run leaves, too: [corpus]: fingerprint of
the packed one; [start]: the model that it started from; [step]: how many batches a step has, of all processes."""

_KNOWN = {
    "model": ("architecture", *(field.name for shape in (TransformerConfig, LSTMConfig) for field in fields(shape))),
    "train": tuple(field.name for field in fields(TrainConfig)),
    "corpus": ("fingerprint",),
    "start": ("name", "revision"),
    "step": ("batches",),
}


def read_recipe(path: Path | None) -> Recipe:
    """The tables of a recipe, empty ones without a path; unknown tables and names are refused."""
    if path is None:
        return {table: {} for table in _KNOWN}
    recipe = read_toml(path)
    for table, values in recipe.items():
        if table not in _KNOWN:
            raise StorygenError(f"recipe {path}: {unknown_name('table', table, _KNOWN)}")
        if not isinstance(values, dict):
            raise StorygenError(f"recipe {path}: {table} must be a table, [{table}], not {values!r}")
        for name in values:
            if name not in _KNOWN[table]:
                raise StorygenError(f"recipe {path}: {unknown_name(f'name in [{table}]', name, _KNOWN[table])}")
    return {table: recipe.get(table, {}) for table in _KNOWN}


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Writes a recipe that `read_recipe` reads; settings that are None are left out."""
    lines = []
    for table, values in recipe.items():
        if not values:
            continue
        # Strings, numbers and booleans are written alike in JSON and TOML.
        lines += [f"[{table}]", *(f"{name} = {json.dumps(v)}" for name, v in values.items() if v is not None), ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def parse_setting(text: str) -> tuple[str, str, Any]:
    """The table, name and value of `name=value`: `learning_rate=1e-3`, `hidden_size=128`, `architecture=lstm`."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise StorygenError(f"--set {text}: write it as name=value")
    tables = {known: table for table in ("train", "model") for known in _KNOWN[table]}
    if name not in tables:
        raise StorygenError(f"--set {text}: {unknown_name('setting', name, tables)}")
    try:
        return tables[name], name, tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # a word without quotation marks
        return tables[name], name, value
