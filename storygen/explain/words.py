"""Tokens as readers see them: the text that each adds to a story, and the words that they make up."""

from collections.abc import Sequence
from dataclasses import dataclass

from storygen.tokenizers import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Word:
    """A run of tokens that reads as one word, the space before it and the marks after it included."""

    text: str
    first: int
    """Number of its first token in the story."""
    end: int
    """Number of the token after its last."""


def token_texts(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """What each token adds to the text: the pieces add up to the decoding of all.

    A character that takes several tokens comes with its last one, so a text may be empty.
    """
    decoder = StreamDecoder(tokenizer)
    texts = [decoder.push(token) for token in tokens]
    if texts:
        texts[-1] += decoder.finish()
    return texts


def words_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[Word]:
    """The tokens of a story as words, in order; the end token is a word of its own, without text."""
    words: list[Word] = []
    for number, (token, text) in enumerate(zip(tokens, token_texts(tokenizer, tokens), strict=True)):
        last = words[-1].text if words else ""
        if not words or token == tokenizer.end_id or (last.strip() and (text[:1].isspace() or last[-1].isspace())):
            words.append(Word(text, number, number + 1))
        else:
            words[-1] = Word(last + text, words[-1].first, number + 1)
    return words
