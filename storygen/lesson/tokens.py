"""How a text is cut: the tokens of several tokenizers side by side, and what each loses."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from storygen.tokenizers import KINDS, Tokenizer, load_tokenizer, well_formed
from storygen.writer import Writer

FOLDER = Path(__file__).parent / "tokenizers"
UNKNOWN = "\ufffd".encode()
"""What the one token for everything that a tokenizer can't represent stands for."""
MARKS = str.maketrans({" ": "␣", "\n": "↵"})


@dataclass(frozen=True)
class Cut:
    """A text as one tokenizer cuts it."""

    kind: str
    vocab_size: int
    models: tuple[str, ...]
    """The loaded models that read with it; none for a tokenizer that is there for comparison."""
    ids: tuple[int, ...]
    labels: tuple[str, ...]
    """The tokens as `label` shows them."""
    size: int
    """UTF-8 bytes of the text."""
    lost: Counter[str]
    """Characters that the tokenizer can't represent."""
    read_back: str
    """What the tokens say: the text itself, unless something was lost."""
    is_same: bool
    """Whether that is the text itself."""

    @property
    def bytes_per_token(self) -> float:
        """How much text a token holds; 0 for no tokens."""
        return self.size / len(self.ids) if self.ids else 0.0


def label(tokenizer: Tokenizer, token: int) -> str:
    """A token to be looked at: spaces and line ends as marks, and as ⟨C3⟩ bytes that can't be shown as characters."""
    special = {tokenizer.prompt_id: "⟨prompt⟩", tokenizer.story_id: "⟨story⟩", tokenizer.end_id: "⟨end⟩"}
    if token in special:
        return special[token]
    content = tokenizer.token_bytes[token]
    if content == UNKNOWN:
        return "⟨unknown⟩"
    text = content.decode(errors="replace").translate(MARKS)
    return text if text.isprintable() and "\ufffd" not in text else f"⟨{content.hex(' ').upper()}⟩"


@cache
def small_tokenizer(kind: str) -> Tokenizer:
    """The tokenizer of that kind which ships with the package, learnt from the built-in tales."""
    return load_tokenizer(FOLDER / f"{kind}.json")


def tokenizers_of(writers: Mapping[str, Writer]) -> list[tuple[Tokenizer, tuple[str, ...]]]:
    """Each tokenizer that models read with, and those models; then a small one of each kind that none of them uses."""
    used: dict[str, tuple[Tokenizer, tuple[str, ...]]] = {}
    for name, writer in writers.items():
        tokenizer = writer.tokenizer
        _, models = used.get(tokenizer.fingerprint, (tokenizer, ()))
        used[tokenizer.fingerprint] = (tokenizer, (*models, name))
    kinds = {tokenizer.kind for tokenizer, _ in used.values()}
    return [*used.values(), *((small_tokenizer(kind), ()) for kind in KINDS if kind not in kinds)]


def cut(text: str, tokenizer: Tokenizer, models: tuple[str, ...] = ()) -> Cut:
    """The text in tokens."""
    text = well_formed(text)
    ids = tuple(tokenizer.encode(text))
    read_back = tokenizer.decode(ids)
    return Cut(
        kind=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        models=models,
        ids=ids,
        labels=tuple(label(tokenizer, token) for token in ids),
        size=len(text.encode()),
        lost=tokenizer.unknown(text),
        read_back=read_back,
        is_same=read_back == text,
    )
