"""The stories that a beam search has found, as a tree: what they share is told once, and where they part."""

from collections.abc import Sequence
from dataclasses import dataclass

from storygen.tokenizers import Tokenizer
from storygen.writer import Candidate


@dataclass(frozen=True)
class Beam:
    """Tokens that some candidates share, and the ways in which they go on."""

    text: str
    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    """The candidates, by their place in the list (0 is the best), that have nothing more than this."""
    rest: tuple["Beam", ...]
    """The ways on, that of the best candidate first; each begins with a token of its own."""

    @property
    def best(self) -> int:
        """The place of the best candidate that comes through here."""
        return min(*self.ends, *(beam.best for beam in self.rest), 1 << 30)


def beam_tree(candidates: Sequence[Candidate], tokenizer: Tokenizer) -> Beam:
    """The candidates, best first, as a tree of their tokens; its root is what they all begin with."""
    return _grow([(number, candidate.tokens) for number, candidate in enumerate(candidates)], tokenizer)


def _grow(paths: list[tuple[int, tuple[int, ...]]], tokenizer: Tokenizer) -> Beam:
    shortest = min(len(tokens) for _, tokens in paths)
    first = paths[0][1]
    shared = next((i for i in range(shortest) if any(tokens[i] != first[i] for _, tokens in paths)), shortest)
    ways: dict[int, list[tuple[int, tuple[int, ...]]]] = {}  # in the order of their best candidate
    for number, tokens in paths:
        if len(tokens) > shared:
            ways.setdefault(tokens[shared], []).append((number, tokens[shared:]))
    ends = tuple(number for number, tokens in paths if len(tokens) == shared)
    rest = tuple(_grow(way, tokenizer) for way in ways.values())
    return Beam(tokenizer.decode(first[:shared]), first[:shared], ends, rest)
