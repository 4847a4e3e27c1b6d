"""storygen: a Transformer and an LSTM, written by hand, that write stories.

import storygen
writer = storygen.load("checkpoints/transformer")
print(writer.generate("Once upon a time", title="The Fox and the Moon").story)
"""

from typing import Any

__all__ = ["GenerationConfig", "Result", "StorygenError", "Writer", "bits_per_byte", "load"]
__version__ = "0.1.0"

_HOME = {
    "GenerationConfig": "config", "Result": "writer", "StorygenError": "errors", "Writer": "writer", "load": "writer",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads the public names when they are first used: torch takes seconds, and `--help` should not wait for it."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"storygen.{_HOME[name]}"), name)
    raise AttributeError(f"module 'storygen' has no attribute {name!r}")


def bits_per_byte(writer: "Any", texts: list[str]) -> float:
    """Bits per UTF-8 byte that the writer's model needs for the texts, end tokens counted: lower is better."""
    from storygen.evaluation.likelihood import text_likelihood

    return text_likelihood(writer.model, writer.tokenizer, texts).bits_per_byte
