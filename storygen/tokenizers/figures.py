"""How well a tokenizer fits a text."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from storygen.tokenizers.base import Tokenizer, well_formed

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class TokenizerFigures:
    """Sums over a text, as ratios."""

    bytes_per_token: float
    """UTF-8 bytes of the text for each token: how much a context holds."""
    whole_words: float
    """Share of the words that are one token."""
    unknown: float
    """Share of the characters that the tokenizer can't represent."""


def measure_tokenizer(tokenizer: Tokenizer, texts: Iterable[str]) -> TokenizerFigures:
    """The figures on some texts, which it should not have been trained on."""
    size = characters = tokens = unknown = 0
    words: Counter[str] = Counter()
    for text in texts:
        size += len(well_formed(text).encode())
        characters += len(text)
        tokens += len(tokenizer.encode(text))
        unknown += tokenizer.unknown(text).total()
        words.update(_WORD.findall(text))
    different = list(words)
    alone, behind = (tokenizer.encode_batch([before + word for word in different]) for before in ("", " "))
    whole = sum(
        words[word]
        for word, a, b in zip(different, alone, behind, strict=True)
        if min(len(a), len(b)) == 1 and not tokenizer.unknown(word)
    )  # a word in a text stands behind a space, which some tokenizers keep with it
    return TokenizerFigures(size / max(1, tokens), whole / max(1, words.total()), unknown / max(1, characters))
