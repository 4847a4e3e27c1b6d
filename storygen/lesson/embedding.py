"""What a model has learnt of its tokens: which vectors point the same way, and a flat map of a few of them."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from storygen.tokenizers import SPECIAL_TOKENS, Tokenizer

WORDS: dict[str, tuple[str, ...]] = {
    "family": ("mother", "father", "sister", "brother", "son"),
    "colours": ("red", "blue", "green", "white", "black"),
    "numbers": ("two", "three", "five", "seven", "ten"),
    "speaking": ("said", "asked", "cried", "answered", "told"),
}
"""Families of words that a model of English stories may know as tokens of their own."""
LETTERS: dict[str, tuple[str, ...]] = {
    "vowels": tuple("aeiou"),
    "consonants": tuple("bdgkmrst"),
    "digits": tuple("0123456789"),
    "marks": tuple(".,!?;:"),
}
"""Families for a model that reads letter by letter."""
ENOUGH = 8
"""With fewer words than this in its vocabulary a model gets the map of letters."""


def word_tokens(tokenizer: Tokenizer, word: str) -> list[int]:
    """The tokens of a word as it stands inside a sentence: with the space before it if that makes one token of it."""
    word = word.strip()
    if not word:
        return []
    inside = tokenizer.encode(" " + word)
    if len(inside) == 1 and tokenizer.decode(inside) == " " + word:
        return inside
    alone = tokenizer.encode(word)
    return alone if len(alone) <= 1 or len(inside) > len(alone) else inside


def neighbours(matrix: Tensor, token: int, count: int) -> list[tuple[int, float]]:
    """The tokens whose rows of the embedding matrix (vocab, size) point most nearly the same way, and the cosines.

    Best first, at most `count`, without the token itself and the special tokens, which stand for no text.
    """
    cosines = F.cosine_similarity(matrix.detach().float(), matrix[token].detach().float()[None], dim=1)
    cosines[token] = -torch.inf
    cosines[-len(SPECIAL_TOKENS) :] = -torch.inf
    best = cosines.topk(min(count, len(cosines)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(index, cosine) for index, cosine in pairs if cosine > -torch.inf]


def families(tokenizer: Tokenizer) -> dict[str, dict[str, int]]:
    """Family -> word -> its token, of all words that are a single token; of letters, if those are too few."""
    found = _known(tokenizer, WORDS)
    return found if sum(map(len, found.values())) >= ENOUGH else _known(tokenizer, LETTERS)


def _known(tokenizer: Tokenizer, groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, words in groups.items():
        for word in words:
            tokens = word_tokens(tokenizer, word)
            if len(tokens) == 1 and tokenizer.decode(tokens).strip() == word:
                found.setdefault(name, {})[word] = tokens[0]
    return found


def flat_map(vectors: Tensor) -> tuple[Tensor, float]:
    """Places (n, 2) of vectors (n, size) on the plane that shows most of their spread, and the share that it shows.

    Principal component analysis (Pearson 1901): the two directions of greatest variance, by singular values. Signs,
    which are arbitrary, are such that the point farthest out on an axis is on its positive side.
    """
    centred = vectors.detach().double() - vectors.detach().double().mean(dim=0)
    u, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    places = F.pad(u * singular, (0, 2))[:, :2]  # (n, 2); a single point has one direction at most
    farthest = places.gather(0, places.abs().argmax(dim=0, keepdim=True))
    places = places * torch.where(farthest < 0, -1.0, 1.0)
    total = singular.square().sum()
    return places.float(), float(singular[:2].square().sum() / total) if total > 0 else 1.0
