"""Which stories are kept: rules that give the reason for dropping one, or nothing."""

import operator
import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storygen.config import Config, option
from storygen.data.words import Words
from storygen.errors import StorygenError

_READ = 1000
"""Characters from which the language is told."""
_LETTERS, _SPACES = string.ascii_letters.encode(), string.whitespace.encode() + bytes(range(28, 32))
_COMMON = "the and to of a in was he she it that his her they said with for had on you"
_ENGLISH = frozenset(_COMMON.encode().split())
_SURELY, _ENOUGH = 0.15, 34
"""A text of so many words of which such a share are the commonest English ones is English: a tenth of the time of
asking py3langid.
"""
TOP_SHARES = {2: 0.20, 3: 0.18, 4: 0.16}
"""Highest share of the characters that the commonest run of so many words may cover (Rae et al. 2021, table A1)."""
REPEATED_SHARES = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Highest share of the characters inside runs of so many words that come again (the same table)."""
LINE_SHARES = (0.30, 0.20)
"""Highest share of lines, and of their characters, that have come before in the text (the same table)."""


@dataclass(frozen=True)
class FilterConfig(Config):
    """Which stories are kept."""

    min_words: int = option(10, "Shorter stories are dropped.", low=0)
    max_words: int | None = option(None, "Longer stories are dropped.", low=1)
    min_letters: float = option(0.7, "Lowest share of letters among characters that are no space.", low=0.0, high=1.0)
    language: str = option("en", "Stories in other languages are dropped (a two-letter code; empty keeps all).")
    max_repetition: float = option(
        3.0, "Drop what repeats itself so many times more than the Gopher rules allow (1: as they say; 0: keep all).",
        low=0.0, high=100.0,
    )  # fmt: skip
    banned_words: str = option("", "File with a word or phrase on each line; stories with one of them are dropped.")


class Filters:
    """The rules that a config turns on."""

    def __init__(self, config: FilterConfig) -> None:
        self.config = config
        self._banned = read_banned(config.banned_words) if config.banned_words else None
        if config.language not in ("", "en"):  # what is known to be known isn't asked for
            _check_language(config.language)

    def reason(self, text: str, words: Words) -> str:
        """Why a story is dropped, by the name of the rule, or "" to keep it. The cheap rules come first."""
        config = self.config
        if len(words) < config.min_words:
            return "short"
        if config.max_words is not None and len(words) > config.max_words:
            return "long"
        if letter_share(text) < config.min_letters:
            return "letters"
        if self._banned and self._banned.search(text):
            return "banned"
        if config.language and not self._is_in_language(text, words):
            return "language"
        if config.max_repetition and repeats_itself(text, words, config.max_repetition):
            return "repetition"
        return ""

    def _is_in_language(self, text: str, words: Words) -> bool:
        if self.config.language == "en" and len(words) >= _ENOUGH:
            common = sum(filter(None, map(words.counts.get, _ENGLISH)))
            if common >= _SURELY * len(words):
                return True
        return language_of(text) == self.config.language


def letter_share(text: str) -> float:
    """Letters over characters that are no space; 0 for an empty text."""
    if text.isascii():  # forty times as fast
        data = text.encode()
        solid = len(data.translate(None, _SPACES))
        return (len(data) - len(data.translate(None, _LETTERS))) / solid if solid else 0.0
    solid = "".join(text.split())
    letters = sum(unicodedata.category(letter)[0] in "LM" for letter in solid)  # vowel signs are marks in many scripts
    return letters / len(solid) if solid else 0.0


def language_of(text: str) -> str:
    """The likeliest language's two-letter code, by py3langid (Lui & Baldwin 2012), from the beginning of a text."""
    import py3langid  # its model takes half a second to load

    return py3langid.classify(text[:_READ])[0]


def _check_language(code: str) -> None:
    import py3langid

    known = sorted(language for language, _ in py3langid.rank("a"))
    if code not in known:
        raise StorygenError(f"language {code!r} is unknown; known: {', '.join(known)}")


def read_banned(path: str) -> re.Pattern[str] | None:
    """What finds any word or phrase of the file, one a line, as a whole and in any case; None for an empty file."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StorygenError(f"banned_words {path} cannot be read: {error}") from None
    phrases = [r"\s+".join(map(re.escape, line.split())) for line in lines if line and not line.startswith("#")]
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE) if phrases else None


def repeats_itself(text: str, words: Words, times_over: float = 1.0) -> bool:
    """Whether lines or runs of words repeat so many times more than the Gopher rules allow (Rae et al. 2021, table A1).

    Those were made for web pages; folk tales live on refrains. Lines without a letter, as between scenes, don't count.
    """
    lines = [line for line in text.split("\n") if line]
    if len(set(lines)) < len(lines):
        lines = [line for line in lines if any(map(str.isalpha, line))]
        again = _repeated(lines)
        most = [share * times_over for share in LINE_SHARES]
        if len(again) > most[0] * len(lines) or sum(map(len, again)) > most[1] * sum(map(len, lines)):
            return True
    return _commonest_run_covers_too_much(words, times_over) or _runs_come_again_too_much(words, times_over)


def _commonest_run_covers_too_much(words: Words, times_over: float) -> bool:
    total = sum(map(len, words.list))
    heaviest = max(map(operator.mul, map(len, words.counts), words.counts.values()), default=0)
    for length, share in TOP_SHARES.items():
        most = share * times_over * total
        if heaviest * length <= most or len(words) < length:  # no run comes more often than a word of it
            continue
        _, first, times = np.unique(words.runs(length), return_index=True, return_counts=True)
        top = times.argmax()
        if times[top] > 1 and times[top] * words.sizes[first[top] : first[top] + length].sum() > most:
            return True
    return False


def _runs_come_again_too_much(words: Words, times_over: float) -> bool:
    for length, share in REPEATED_SHARES.items():
        runs = words.runs(length)
        in_order = np.sort(runs)
        if not (in_order[1:] == in_order[:-1]).any():  # then no longer run comes again either
            return False
        again = np.ones(len(runs), dtype=bool)
        again[np.unique(runs, return_index=True)[1]] = False  # the first of each
        covered = np.convolve(again, np.ones(length)) > 0.5  # the words inside a run that comes again
        if words.sizes[covered].sum() > share * times_over * words.sizes.sum():
            return True
    return False


def _repeated(lines: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    again = []
    for line in lines:
        if line in seen:
            again.append(line)
        seen.add(line)
    return again
