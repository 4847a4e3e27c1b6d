"""The character tokenizer, from scratch: lower-cased ASCII, one token a character (the classic char-RNN lesson)."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable

from storygen.errors import StorygenError
from storygen.tokenizers.base import Tokenizer

# Typographic marks that NFKD leaves alone, and what a typewriter has for them.
TYPEWRITER = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'", "`": "'", "´": "'",
        "“": '"', "”": '"', "„": '"', "‟": '"', "″": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "--", "—": "--", "―": "--", "−": "-",
        "…": "...", "•": "*", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l",
        "Ł": "L", "đ": "d", "Đ": "D", "þ": "th", "Þ": "Th", "\u00a0": " ", "\r": "\n", "\t": " ",
    }
)  # fmt: skip


def normalise(text: str) -> tuple[str, Counter[str]]:
    """Lower-cased ASCII of a text, and the characters that had no ASCII form and were dropped, with their counts.

    Quotes and dashes are mapped first, accents come off by NFKD (Unicode Standard Annex 15).
    """
    kept: list[str] = []
    dropped: Counter[str] = Counter()
    for character in text.replace("\r\n", "\n").translate(TYPEWRITER):
        plain = "".join(c for c in unicodedata.normalize("NFKD", character).translate(TYPEWRITER) if c.isascii())
        plain = "".join(c for c in plain if c == "\n" or c.isprintable())
        if plain:
            kept.append(plain)
        elif not unicodedata.combining(character):
            dropped[character] += 1
    return "".join(kept).lower(), dropped


class CharTokenizer(Tokenizer):
    """One token per character of a vocabulary that was collected from the corpus."""

    kind = "char"
    lossless = False

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = list(characters)
        if len(set(self.characters)) != len(self.characters) or any(len(c) != 1 for c in self.characters):
            raise StorygenError("a character vocabulary must be single characters, each once")
        self._ids = {character: index for index, character in enumerate(self.characters)}
        super().__init__([character.encode() for character in self.characters])

    @classmethod
    def train(cls, texts: Iterable[str]) -> "CharTokenizer":
        """A tokenizer for every character that the normalised texts contain."""
        return cls(sorted(set().union(*(normalise(text)[0] for text in texts))))

    def encode(self, text: str) -> list[int]:
        """Ids of the normalised text; characters outside the vocabulary are left out (`unknown` counts them)."""
        return [self._ids[character] for character in normalise(text)[0] if character in self._ids]

    def unknown(self, text: str) -> Counter[str]:
        plain, dropped = normalise(text)
        return dropped + Counter(character for character in plain if character not in self._ids)

    def to_json(self) -> str:
        return json.dumps({"kind": "char", "characters": self.characters}, indent=1) + "\n"
