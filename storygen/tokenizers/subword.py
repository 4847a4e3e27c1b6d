"""Subword tokenizers (byte-level BPE, WordPiece, Unigram), trained and run by the `tokenizers` library.

The library's model holds no special tokens. They are appended behind its vocabulary and only our own code writes their
ids, so text can never produce them. The model's pieces are turned into plain bytes once: decoding is a lookup.
"""

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from storygen.errors import StorygenError
from storygen.tokenizers.base import SPECIAL_TOKENS, Tokenizer, well_formed
from storygen.tokenizers.word_table import WordTable

SPACE = "\u2581"  # stands for a space inside the pieces of WordPiece and Unigram, as in SentencePiece
CONTINUES = "##"  # marks a WordPiece piece that continues a word
UNKNOWN = "<unk>"


class SubwordTokenizer(Tokenizer):
    """A `tokenizers` model behind our interface."""

    def __init__(self, content: str) -> None:
        """`content` is that of a tokenizer.json. It is kept as it is: printing Unigram's scores anew changes digits."""
        self._content = content
        inner = tokenizers.Tokenizer.from_str(content)
        self.kind = {"BPE": "bpe", "WordPiece": "wordpiece", "Unigram": "unigram"}[type(inner.model).__name__]
        self.lossless = self.kind == "bpe"
        self._inner = inner
        inner.no_truncation()
        inner.no_padding()
        inner.encode_special_tokens = True  # "<|end|>" typed by a user is seven characters, not the end
        cuts = inner.pre_tokenizer
        is_plain = isinstance(cuts, pre_tokenizers.ByteLevel) and cuts.use_regex and not cuts.add_prefix_space
        self._table = WordTable(self.encode) if self.lossless and is_plain and inner.normalizer is None else None
        pieces = [inner.id_to_token(index) for index in range(inner.get_vocab_size(with_added_tokens=False))]
        super().__init__([_piece_bytes(self.kind, piece) for piece in pieces])
        for token, expected in zip(SPECIAL_TOKENS, (self.prompt_id, self.story_id, self.end_id), strict=True):
            if inner.token_to_id(token) != expected:
                raise StorygenError(f"tokenizer has {token} at id {inner.token_to_id(token)}; it must be {expected}")

    @classmethod
    def train(cls, kind: str, texts: Iterable[str], vocab_size: int) -> "SubwordTokenizer":
        """A tokenizer of at most `vocab_size` tokens, the special ones included, learnt from the texts.

        BPE is the same each time. WordPiece and Unigram differ in ties and last digits, as the library trains them.
        """
        check_size(kind, vocab_size)
        inner, trainer = _untrained(kind, vocab_size - len(SPECIAL_TOKENS))
        try:
            inner.train_from_iterator(texts, trainer)
        except Exception as error:  # the library raises bare Exception, for instance for a vocabulary that is too small
            raise StorygenError(f"a {kind} tokenizer of {vocab_size} tokens cannot be trained: {error}") from None
        # Trained special tokens would be part of the model (a Unigram lattice matches them in text): append them after.
        inner.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS])
        return cls(inner.to_str(pretty=False))

    def encode(self, text: str) -> list[int]:
        return self._inner.encode(well_formed(text), add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        if self._table is None:
            return self._encode_batch(texts)
        others = iter(self._encode_batch([text for text in texts if not text.isascii()]))
        return [self._table.encode(text) if text.isascii() else next(others) for text in texts]

    def _encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [
            encoding.ids
            for encoding in self._inner.encode_batch_fast(
                [well_formed(text) for text in texts], add_special_tokens=False
            )
        ]

    def unknown(self, text: str) -> Counter[str]:
        unknown_id = self._inner.token_to_id(UNKNOWN)
        if unknown_id is None:
            return Counter()
        encoding = self._inner.encode(well_formed(text), add_special_tokens=False)
        unknown: Counter[str] = Counter()
        for (start, end), token in zip(encoding.offsets, encoding.ids, strict=True):
            if token == unknown_id:
                lost = [c for c in text[start:end] if not self._knows(c)]
                unknown.update(lost or text[start:end])  # all are known, but the word as a whole is too long
        return unknown

    def _knows(self, character: str) -> bool:
        character = SPACE if character == " " else character
        forms = (character, CONTINUES + character)
        return any(self._inner.token_to_id(form) is not None for form in forms)

    def to_json(self) -> str:
        return self._content


def check_size(kind: str, vocab_size: int) -> None:
    """Refuses a vocabulary that can't be, before there is a text to train on."""
    if vocab_size <= len(SPECIAL_TOKENS):
        raise StorygenError(
            f"a vocabulary of {vocab_size} leaves no room; it must be {len(SPECIAL_TOKENS) + 1} or more"
        )
    _untrained(kind, vocab_size - len(SPECIAL_TOKENS))


def _untrained(kind: str, vocab_size: int) -> tuple[tokenizers.Tokenizer, trainers.Trainer]:
    """An empty model of that kind and its trainer."""
    if kind == "bpe":
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if vocab_size < len(alphabet):
            raise StorygenError(
                f"a byte-level BPE needs a vocabulary of {len(alphabet) + 3} or more, not {vocab_size + 3}"
            )
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=sorted(alphabet), show_progress=False)
        return inner, trainer
    metaspace = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="never")
    newline = pre_tokenizers.Split("\n", "isolated")  # a paragraph break is a token, never part of a word
    if kind == "wordpiece":
        inner = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN, continuing_subword_prefix=CONTINUES))
        inner.normalizer = normalizers.NFC()
        punctuation = pre_tokenizers.Split(Regex(rf"[^\w{SPACE}\s]"), "isolated")
        inner.pre_tokenizer = pre_tokenizers.Sequence([newline, metaspace, punctuation])
        inner.decoder = decoders.Sequence(
            [decoders.Replace(Regex(rf"^{CONTINUES}(?=.)"), ""), decoders.Replace(SPACE, " "), decoders.Fuse()]
        )
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=[UNKNOWN], continuing_subword_prefix=CONTINUES, show_progress=False
        )
        return inner, trainer
    if kind == "unigram":
        inner = tokenizers.Tokenizer(models.Unigram())
        inner.normalizer = normalizers.NFKC()
        inner.pre_tokenizer = pre_tokenizers.Sequence([newline, metaspace])
        inner.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="never")
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=False
        )
        return inner, trainer
    raise StorygenError(f"unknown tokenizer {kind!r}; known: char, bpe, wordpiece, unigram")


def _byte_alphabet() -> dict[str, int]:
    """The printable characters by which byte-level BPE writes bytes (GPT-2's table), each with its byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _piece_bytes(kind: str, piece: str) -> bytes:
    """The bytes that a piece of the library's vocabulary stands for."""
    if kind == "bpe":
        return bytes(_BYTE_OF[character] for character in piece)
    if piece == UNKNOWN:
        return "\ufffd".encode()
    if kind == "wordpiece" and len(piece) > len(CONTINUES):
        piece = piece.removeprefix(CONTINUES)
    return piece.replace(SPACE, " ").encode()
