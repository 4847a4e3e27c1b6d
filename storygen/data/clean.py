"""Cleaning of one text: encoding repair, control characters, white space."""

import re

import ftfy

_REPAIR = ftfy.TextFixerConfig(unescape_html="auto", normalization="NFC")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """The text with mojibake mended and quotes straightened (ftfy), control characters gone and white space in order:
    single spaces, no trailing ones, at most one empty line.
    """
    text = ftfy.fix_text(text, _REPAIR)
    text = text.replace("\u200b", "").replace("\ufeff", "")  # zero-width space, byte order mark
    text = _SPACES.sub(" ", text).replace(" \n", "\n")
    return _BLANK_LINES.sub("\n\n", text).strip()
