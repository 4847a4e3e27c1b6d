"""What every tokenizer offers, and decoding, which is the same for all: each token is a fixed string of bytes."""

import codecs
import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

PROMPT, STORY, END = "<|prompt|>", "<|story|>", "<|end|>"
SPECIAL_TOKENS = (PROMPT, STORY, END)


class Tokenizer(ABC):
    """Text to token ids and back. The special tokens hold the last three ids and no text ever encodes to them."""

    kind: str
    """Name of the method: char, bpe, wordpiece or unigram."""
    lossless: bool
    """Whether `decode(encode(text)) == text` for every text."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self.token_bytes = [*token_bytes, *(b"" for _ in SPECIAL_TOKENS)]
        """The bytes that each token id stands for; none for the special ones."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self.token_bytes)

    @property
    def prompt_id(self) -> int:
        """Starts what was asked for: a title, a prompt, keywords."""
        return self.vocab_size - 3

    @property
    def story_id(self) -> int:
        """Starts the story."""
        return self.vocab_size - 2

    @property
    def end_id(self) -> int:
        """Ends the story."""
        return self.vocab_size - 1

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Special tokens that stand in the text are read as plain text."""

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Token ids of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of some token ids. Special tokens give nothing; bytes that are not UTF-8 give U+FFFD."""
        return b"".join(self.token_bytes[token] for token in tokens).decode("utf-8", errors="replace")

    @abstractmethod
    def unknown(self, text: str) -> Counter[str]:
        """Characters of the text that are lost in encoding, with their counts."""

    def framed(self, text: Sequence[int], prompt: Sequence[int] = ()) -> list[int]:
        """A whole story as the model sees it: `<|prompt|>` prompt `<|story|>` text `<|end|>`; prompt may be empty."""
        return [*self.head(prompt), *text, self.end_id]

    def head(self, prompt: Sequence[int] = ()) -> list[int]:
        """What stands before the text: `<|prompt|>` prompt `<|story|>`, or `<|story|>` alone."""
        return [self.prompt_id, *prompt, self.story_id] if prompt else [self.story_id]

    @abstractmethod
    def to_json(self) -> str:
        """The content of tokenizer.json."""

    def save(self, path: str | Path) -> None:
        """Writes tokenizer.json."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json: two tokenizers with the same one give the same ids."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def well_formed(text: str) -> str:
    """The text with lone surrogates, which a browser or JSON can send and UTF-8 can't write, replaced by "?"."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


class StreamDecoder:
    """Decodes token by token and never gives out half a character; the pieces add up to `Tokenizer.decode` of all."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that is complete once this token is known; it may be empty."""
        return self._utf8.decode(self._token_bytes[token])

    def finish(self) -> str:
        """What was held back: U+FFFD if the tokens end in the middle of a character."""
        return self._utf8.decode(b"", final=True)
