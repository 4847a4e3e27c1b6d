"""Cleaning of one text, in steps of a fixed order. Each can be turned off, and tells whether it made a difference."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import ftfy

from storygen.config import Config, option

_REPAIR = ftfy.TextFixerConfig(
    unescape_html="auto", normalization=None, uncurl_quotes=False, remove_control_chars=False
)
_MARKS = ftfy.TextFixerConfig(fix_encoding=False, unescape_html=False)
# What a typewriter has for typographic marks; the rest of the quotes is ftfy's.
_PLAIN = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'",
        "“": '"', "”": '"', "„": '"', "‟": '"', "″": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "‒": "-", "−": "-", "–": "--", "—": "--", "―": "--", "…": "...",
    }
)  # fmt: skip
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\ufeff\ufff9-\ufffb]"
)
_BREAK = re.compile(r"<(?:br|/p|/div)\s*/?>", re.IGNORECASE)
_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|code|dd|del|div|dl|dt|em|font|h[1-6]|head|hr|html|i|img|ins|li|link|"
    "meta|ol|p|pre|q|s|script|small|span|strike|strong|style|sub|sup|table|tbody|td|th|title|tr|tt|u|ul"
)
_TAG = re.compile(
    rf"</?(?:{_TAGS})(?:\s+[\w-]+\s*=[^<>\n]{{0,200}})?\s?/?>|<!--.{{0,2000}}?-->", re.DOTALL | re.IGNORECASE
)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\((?:https?://|/|#)[^()\s]{0,500}\)")
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+")
_EMPHASIS = re.compile(r"(?<![\w*_])(\*{1,3}|_{1,3})(?=\S)([^*_\n]{1,300}?)(?<=\S)\1(?![\w*_])")
_HEADING = re.compile(r"^#{1,6}[ \t]+", re.MULTILINE)
_BOILERPLATE = re.compile(
    r"^[ \t]*(?:"
    r"[^\n\"]{0,60}\b(?:all rights reserved|project gutenberg|gutenberg\.org)\b[^\n\"]{0,60}"
    r"|(?:copyright|\(c\)|©)[ \t]+(?:\(c\)[ \t]*|©[ \t]*)?(?:\d{4}|by)\b[^\n\"]{0,100}"
    r"|ISBN[ :\d-][^\n\"]{0,40}"
    r"|(?:\[?[ \t]*transcriber'?s'? notes?|privacy policy|terms of (?:use|service)|click here|subscribe to my)\b"
    r"[^\n\"]{0,100}"
    r"|follow (?:me|us) on (?:twitter|facebook|instagram|tumblr|reddit|patreon)\b[^\n\"]{0,60}"
    r")[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""Whole short lines, and none that is spoken: in most texts a line is a paragraph of the story."""
_SUSPECT = (
    "rights reserved", "isbn", "gutenberg", "transcriber", "privacy policy", "terms of", "click here", "subscribe",
    "follow me on", "follow us on", "copyright", "(c)", "\u00a9",
)  # fmt: skip
"""A text without any of these has no such line; looking for them is faster."""
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_BROKEN_AT_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")
_EXCEPTIONS = 0.1
"""Share of a paragraph's lines that may be shorter than they had to be."""
_NARROWEST, _WIDEST = 50, 110
"""Widths between which lines may have been wrapped by hand; verse is narrower, paragraphs on one line are wider."""


def repair_encoding(text: str) -> str:
    """Mojibake, HTML entities and terminal escapes mended, by ftfy."""
    return text if text.isascii() and "&" not in text and "\x1b" not in text else ftfy.fix_text(text, _REPAIR)


def plain_marks(text: str) -> str:
    """In Unicode's composed form (NFC), quotes straight, dashes as two hyphens, an ellipsis as three dots."""
    if text.isascii():
        return text
    return ftfy.fix_text(text, _MARKS).translate(_PLAIN)


def drop_invisible(text: str) -> str:
    """Without control and zero-width characters, soft hyphens and marks of direction; lines end in a newline."""
    for ending in ("\r\n", "\r", "\u2028", "\u2029", "\x0b", "\x0c"):
        if ending in text:
            text = text.replace(ending, "\n")
    return _INVISIBLE.sub("", text)


def drop_markup(text: str) -> str:
    """Without HTML tags, web addresses and Markdown's links, headings and emphasis; what they enclose stays."""
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    if "://" in text or "www." in text:
        text = _ADDRESS.sub("", text)
    if "*" in text or "_" in text:
        text = _EMPHASIS.sub(r"\2", text)
    return _HEADING.sub("", text) if "#" in text else text


def drop_boilerplate(text: str) -> str:
    """Without the lines of publishers and web pages: rights, ISBN, transcriber's notes, calls to subscribe."""
    lower = text.lower()
    return _BOILERPLATE.sub("", text) if any(word in lower for word in _SUSPECT) else text


def unwrap(text: str) -> str:
    """Paragraphs whose lines were broken by hand are one line again; verse and dialogue stay as they are.

    Lines are taken for wrapped if nearly each is followed by a word that would not have fitted, and not all of them
    begin with a capital, as those of verse do.
    """
    if "\n" not in text:
        return text
    return "\n\n".join(_unwrap_paragraph(paragraph) for paragraph in re.split(r"\n[^\S\n]*\n", text))


def _unwrap_paragraph(paragraph: str) -> str:
    if "\n" not in paragraph:
        return paragraph
    lines = [line.strip() for line in paragraph.split("\n")]
    width = max(map(len, lines))
    if not _NARROWEST <= width <= _WIDEST or not all(lines):
        return paragraph
    if all(line[0].isupper() for line in lines):
        return paragraph
    would_fit = sum(len(line) + 1 + len(after.split(" ", 1)[0]) <= width for line, after in itertools.pairwise(lines))
    if would_fit > _EXCEPTIONS * len(lines):
        return paragraph
    return _BROKEN_AT_HYPHEN.sub("-", "\n".join(lines)).replace("\n", " ")


def tidy_spaces(text: str) -> str:
    """Single spaces, none at the end of a line, at most one empty line."""
    if "  " in text or "\t" in text or not text.isascii() or "\x0b" in text or "\x0c" in text or "\r" in text:
        text = _SPACES.sub(" ", text)
    text = text.replace(" \n", "\n").replace("\n ", "\n")
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()


STEPS: dict[str, Callable[[str], str]] = {
    "encoding": repair_encoding,
    "marks": plain_marks,
    "invisible": drop_invisible,
    "boilerplate": drop_boilerplate,
    "unwrap": unwrap,
    "markup": drop_markup,
    "spaces": tidy_spaces,
}
"""In the order in which they run: bytes first, then characters, then lines."""


@dataclass(frozen=True)
class CleanConfig(Config):
    """Which steps run."""

    encoding: bool = option(True, "Repair mojibake and HTML entities.")
    marks: bool = option(True, "Straighten quotes and write dashes as hyphens.")
    invisible: bool = option(True, "Drop control and zero-width characters.")
    boilerplate: bool = option(True, "Drop lines about rights and the like.")
    unwrap: bool = option(True, "Rejoin paragraphs whose lines were wrapped by hand.")
    markup: bool = option(True, "Drop HTML and Markdown left-overs and web addresses.")
    spaces: bool = option(True, "Tidy spaces and empty lines.")


def clean(text: str, config: CleanConfig = CleanConfig(), changed: list[str] | None = None) -> str:
    """The text after all steps that are on; those that made a difference are added to `changed`."""
    for name, step in STEPS.items():
        if getattr(config, name):
            before, text = text, step(text)
            if changed is not None and text != before:
                changed.append(name)
    return text
