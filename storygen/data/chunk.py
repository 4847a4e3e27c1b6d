"""Long stories in pieces that end with a sentence."""

import re
from collections.abc import Sequence

_NO_END = "".join(rf"(?<!\b{title}\.)" for title in ("Mr", "Mrs", "Ms", "Dr", "St", "Mme", "Mlle", "Prof", "Capt"))
_SENTENCE = re.compile(rf".+?(?:(?<=[.!?]){_NO_END}[\"')\]]*(?=\s+[^\sa-z])|(?=\n\n)|\Z)\s*", re.DOTALL)


def sentences(text: str) -> list[str]:
    """The sentences of a text with the white space behind them; joined they are the text."""
    return _SENTENCE.findall(text)


def join_up(parts: Sequence[str], sizes: Sequence[int], limit: int) -> list[str]:
    """Parts joined to pieces of at most `limit`, by their sizes; a part that is larger is a piece of its own."""
    pieces: list[str] = []
    held, size = [], 0
    for part, each in zip(parts, sizes, strict=True):
        if held and size + each > limit:
            pieces.append("".join(held))
            held, size = [], 0
        held.append(part)
        size += each
    return [*pieces, "".join(held)] if held else pieces
