"""A story as a model reads it: prompt, opening and text, of which the last tokens are its own."""

from dataclasses import dataclass

from storygen.tokenizers import Tokenizer


@dataclass(frozen=True)
class Told:
    """A story in tokens."""

    tokens: tuple[int, ...]
    scored: int
    """How many at the end are the story's own: those of its text, and the end token if it has come to its end."""


def tell(tokenizer: Tokenizer, title: str, opening: str, text: str, has_ended: bool, context_length: int) -> Told:
    """A story on a title that goes on from an opening; what does not fit into the context is cut off at its end."""
    known = [*tokenizer.head(tokenizer.encode(title)[-(context_length // 2) :]), *tokenizer.encode(opening)]
    tokens = [*known, *tokenizer.encode(text), *([tokenizer.end_id] if has_ended else [])][: context_length + 1]
    return Told(tuple(tokens), max(0, len(tokens) - len(known)))
