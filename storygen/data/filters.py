"""Which stories are kept: rules that give the reason for dropping one, or nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from storygen.config import Config, option
from storygen.errors import StorygenError

_READ = 1000
"""Characters from which the language is told."""
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
    repetition: bool = option(True, "Drop what repeats itself more than the Gopher rules allow.")
    banned_words: str = option("", "File with a word or phrase on each line; stories with one of them are dropped.")


class Filters:
    """The rules that a config turns on."""

    def __init__(self, config: FilterConfig) -> None:
        self.config = config
        self._banned = read_banned(config.banned_words) if config.banned_words else None
        if config.language:
            _check_language(config.language)

    def reason(self, text: str) -> str:
        """Why a story is dropped, by the name of the rule, or "" to keep it. The cheap rules come first."""
        config = self.config
        words = text.split()
        if len(words) < config.min_words:
            return "short"
        if config.max_words is not None and len(words) > config.max_words:
            return "long"
        if letter_share(text) < config.min_letters:
            return "letters"
        if self._banned and self._banned.search(text):
            return "banned"
        if config.language and language_of(text) != config.language:
            return "language"
        if config.repetition and repeats_itself(text, words):
            return "repetition"
        return ""


RULES = ("short", "long", "letters", "banned", "language", "repetition")


def letter_share(text: str) -> float:
    """Letters over characters that are no space; 0 for an empty text."""
    solid = "".join(text.split())
    return sum(map(str.isalpha, solid)) / len(solid) if solid else 0.0


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
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StorygenError(f"banned_words {path} cannot be read: {error}") from None
    phrases = [r"\s+".join(map(re.escape, line.split())) for line in lines if line and not line.startswith("#")]
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE) if phrases else None


def repeats_itself(text: str, words: Sequence[str]) -> bool:
    """Whether lines or runs of words repeat more than the Gopher rules allow (Rae et al. 2021, table A1)."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1:
        again = _repeated(lines)
        total = sum(map(len, lines))
        if len(again) > LINE_SHARES[0] * len(lines) or sum(map(len, again)) > LINE_SHARES[1] * total:
            return True
    size = sum(map(len, words))
    most = len(words)
    for length, share in TOP_SHARES.items():
        if most * length * max(map(len, words)) <= share * size:
            break  # no run comes more often than the commonest shorter one, so none can cover as much
        runs = Counter(_runs(words, length))
        if not runs:
            return False
        run, most = max(runs.items(), key=itemgetter(1))
        if most > 1 and most * sum(map(len, run)) > share * size:
            return True
    for length, share in REPEATED_SHARES.items():
        covered = _covered(words, length)
        if covered == 0:  # then no longer run comes again either
            return False
        if covered > share * size:
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


def _runs(words: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(length)), strict=False)


def _covered(words: Sequence[str], length: int) -> int:
    """Characters in runs of `length` words that have come before, each character once."""
    if len(words) - length + 1 <= len(set(_runs(words, length))):
        return 0
    seen: set[tuple[str, ...]] = set()
    covered = end = 0
    for start, run in enumerate(_runs(words, length)):
        if run in seen:
            covered += sum(map(len, words[max(start, end) : start + length]))
            end = start + length
        seen.add(run)
    return covered
