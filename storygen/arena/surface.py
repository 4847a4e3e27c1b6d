"""One look for all stories of the arena, so that quotes, spaces and capitals do not tell the models apart."""

import re

from storygen.endings import SENTENCE_END, Ending
from storygen.tokenizers.char import normalise

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "`": "'"})
_RULES = (
    (re.compile(r"\s*(?:--+|[—–])\s*"), " - "),
    (re.compile("…"), "..."),
    (re.compile(r"[^\S\n]+"), " "),
    (re.compile(r" (?=[,.;:!?](?:\s|$))"), ""),
    (re.compile(r" ?\n\s*"), "\n\n"),
)
_SENTENCE_START = re.compile(r"""(?:^|(?<=[.!?]\s)|(?<=[.]["']\s)|(?<=\n))\W*\w""")


def surface(text: str, lower: bool = False) -> str:
    """The text with straight quotes, plain dashes, single spaces, one blank line between paragraphs and a capital
    after each full stop. With `lower` all other letters are small ASCII ones, as the char tokenizer has them: both
    sides are shown so when one model knows no others.
    """
    if lower:
        text = re.sub(r"\bi\b", "I", normalise(text)[0])
    text = text.translate(_QUOTES).strip()
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _SENTENCE_START.sub(lambda match: match.group()[:-1] + match.group()[-1].upper(), text)


def cut(text: str, characters: int) -> str:
    """The text, cut after its last whole sentence if it is longer than that; "" if there is none to end it after."""
    if len(text) <= characters:
        return text
    kept = Ending(full_sentence=True).push(text[: characters + 1])
    return kept if SENTENCE_END.search(kept) else ""
