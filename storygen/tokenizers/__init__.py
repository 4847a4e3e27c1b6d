"""Four ways to cut text into tokens behind one interface: char (by hand), bpe, wordpiece and unigram (`tokenizers`)."""

from collections.abc import Iterable
from pathlib import Path

from storygen.config import read_json
from storygen.errors import StorygenError
from storygen.tokenizers.base import END, PROMPT, SPECIAL_TOKENS, STORY, StreamDecoder, Tokenizer, well_formed
from storygen.tokenizers.char import CharTokenizer
from storygen.tokenizers.subword import SubwordTokenizer, check_size

__all__ = [
    "END",
    "KINDS",
    "PROMPT",
    "SPECIAL_TOKENS",
    "STORY",
    "CharTokenizer",
    "StreamDecoder",
    "SubwordTokenizer",
    "Tokenizer",
    "check_vocab_size",
    "load_tokenizer",
    "train_tokenizer",
    "well_formed",
]  # fmt: skip

KINDS = ("char", "bpe", "wordpiece", "unigram")


def check_vocab_size(kind: str, vocab_size: int) -> None:
    """Refuses a size that a kind of tokenizer can't have. A char vocabulary takes what it finds."""
    if kind != "char":
        check_size(kind, vocab_size)


def train_tokenizer(kind: str, texts: Iterable[str], vocab_size: int = 4096) -> Tokenizer:
    """A tokenizer learnt from the texts. A char vocabulary takes what it finds and ignores `vocab_size`."""
    tokenizer = CharTokenizer.train(texts) if kind == "char" else SubwordTokenizer.train(kind, texts, vocab_size)
    if tokenizer.vocab_size <= len(SPECIAL_TOKENS) + 1:
        raise StorygenError(f"the text is too small to learn a {kind} tokenizer from")
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json; StorygenError says what is wrong with the file."""
    path = Path(path)
    content = read_json(path)
    try:
        if content.get("kind") == "char":
            return CharTokenizer(content["characters"])
        return SubwordTokenizer(path.read_text(encoding="utf-8"))
    except StorygenError as error:
        raise StorygenError(f"{path}: {error}") from None
    except Exception as error:  # the library raises bare Exception for a file that it cannot read
        raise StorygenError(f"{path} is not a tokenizer: {error}") from None
