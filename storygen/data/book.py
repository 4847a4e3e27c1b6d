"""From the file of a Project Gutenberg book to its chapters or tales: pure functions on text.

Header, licence, contents, notes and tags are removed, and the text is split at headings. Paragraphs stay hard-wrapped,
and quotes and dashes as they are: that is the work of `clean_text`.
"""

import re
from dataclasses import dataclass, field

SHORTEST = 300
"""Pieces with fewer characters are not stories but captions, mottoes and the like."""
OPENING = 1000
"""What stands before the first heading is part of the story only if it has this many characters of prose."""

_HEADER = re.compile(
    r"^[ \t]*\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,400}\*{3}|^[ \t]*\*END\*? ?THE SMALL PRINT.*",
    re.M | re.I,
)
_FOOTER = re.compile(
    r"^[ \t]*\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG|^[ \t]*(?:The )?End (?:of )?(?:the |this )?Project Gutenberg"
    r"|^[ \t]*\*{3}START\*\*THE SMALL PRINT",
    re.M | re.I,
)
_CREDIT = re.compile(
    r"\s*(?:Produced|Prepared|Transcribed|Scanned|Proofed|Proofread|Digitized|(?:This )?E-?(?:text|book) (?:was )?\w+) "
    r"(?:and \w+ )?(?:by|from)\b|.*(?:Project Gutenberg|Distributed Proofread|pgdp\.net)",
    re.I | re.S,
)
_CREDITS = 10
"""Credits are looked for in this many paragraphs at the beginning."""
_TAG = re.compile(
    r"\[(?:Illustration|Frontispiece|Decoration|Footnote|Sidenote|Note|Music|Blank page"
    r"|Transcriber|Transcription|Redactor|Preparer|E-?text|Editor['’]s note)\b",
    re.I,
)
_LONGEST_TAG = 5000
"""A tag that is not closed within this many characters ends with its paragraph."""
_FOOTNOTE = re.compile(r"(?:(?<=\n\n)|\A)[ \t]*\[(?:\d{1,3}|[A-Z]|\*+|[†‡])\][ \t]+\S(?:.|\n(?!\n))*")
_MARK = re.compile(r" ?\[\d{1,3}\]|(?<=\S)\[(?:[A-Z]|\*+|[†‡])\]")
_PAGE = re.compile(r"[\[{](?:Pg|Page|p\.) ?[\divxlc]{1,7}[\]}]|\{\d{1,4}\}", re.I)
_BROKEN_PARAGRAPH = re.compile(r"\n+[ \t]*\0[ \t\0]*\n+(?=[a-z])")
_LONE = re.compile(r"(\n*)(?<![^\n])[ \t]*\0[ \t\0]*(?![^\n])(\n*)")
_ITALIC = re.compile(r"(?<!_)_(?!_)")
_BOLD = re.compile(r"(?<!\w)=(?=[^\s=])((?:[^=\n]|\n(?!\n))*)(?<=[^\s=])=(?!\w)")


def decode(data: bytes) -> str:
    """The text of a file in UTF-8 or else Windows-1252, without byte order mark, NULs and spaces at line ends, and with
    five empty lines at most.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    text = "\n".join(line.rstrip() for line in text.replace("\0", "").splitlines())
    return re.sub(r"\n{6,}", "\n" * 6, text)


def without_licence(text: str) -> str:
    """The text between Gutenberg's header and footer of any age, and without the credits that follow the header.

    The small print of old files mostly stands in front, sometimes at the end; a text without such marks stays whole.
    """
    start = 0
    for mark in _HEADER.finditer(text):
        if not _FOOTER.search(text[: mark.start()].partition("SMALL PRINT")[0]):
            start = mark.end()
    end = _FOOTER.search(text, start)
    parts = re.split(r"(\n{2,})", text[start : end.start() if end else len(text)].strip("\n"))
    for n in range(0, min(2 * _CREDITS, len(parts)), 2):
        if _CREDIT.match(parts[n]):
            parts[n] = "\0"
    return _closed("".join(parts)).strip("\n")


def without_tags(text: str) -> str:
    """The text without [Illustration: ...], footnotes and their marks, transcriber's notes in brackets, page numbers.

    Brackets may be nested and go over many lines. A paragraph that a page number or picture cut in two is joined.
    """
    pieces, position = [], 0
    for tag in _TAG.finditer(text):
        if tag.start() >= position:
            pieces.append(text[position : tag.start()])
            position = _end_of_tag(text, tag.start())
    text = "\0".join([*pieces, text[position:]])
    for pattern in (_FOOTNOTE, _MARK, _PAGE):
        text = pattern.sub("\0", text)
    return _closed(_BROKEN_PARAGRAPH.sub("\n", text))


def _closed(text: str) -> str:
    """The text without the NULs that stand where something was taken out.

    Of the two gaps around a lost paragraph the wider one stays: headings are known by it.
    """
    return _LONE.sub(lambda gaps: max(gaps[1], gaps[2], key=len), text).replace("\0", "")


def _end_of_tag(text: str, start: int) -> int:
    depth = 0
    for bracket in re.compile(r"[\[\]]").finditer(text, start, start + _LONGEST_TAG):
        depth += 1 if bracket[0] == "[" else -1
        if not depth:
            return bracket.end()
    end = text.find("\n\n", start)
    return len(text) if end < 0 else end


def without_emphasis(text: str) -> str:
    """The text with _italic_ and =bold= words plain; a blank such as "Mr. ____" stays."""
    return _BOLD.sub(r"\1", _ITALIC.sub("", text))


_ROMAN = r"(?=[IVXLC])C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_COUNT = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty first second third fourth fifth sixth seventh eighth ninth tenth "
    "eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth last"
).replace(" ", "|")
_NUMBERED = re.compile(
    rf"(?i:(?P<part>BOOK|PART|VOLUME)|CHAPTER|CHAP\.|STAVE|STORY|TALE|FABLE|LETTER|ADVENTURE) +"
    rf"(?i:{_ROMAN}|\d{{1,3}}|(?:the +)?(?:{_COUNT})(?:[- ](?:{_COUNT}))?)(?!\w)(?P<mark>[ \t]*[.:—–-]*)(?P<title>.*)",
    re.S,
)
_NAMED = re.compile(r"(?:THE )?(?:PRELUDE|PROLOGUE|EPILOGUE|CONCLUSION)[.:]?", re.I)
_NUMERAL = re.compile(rf"{_ROMAN}(?!\w)(?:[.:]+[ \t]*|[ \t]*[—–-]+[ \t]+|(?=\n|\Z))(?P<title>.*)", re.S)
_MATTER = re.compile(
    r"(?:an? |the |original )?(?:\w+['’]?s?['’]? )?(?:preface|introduction|introductory|foreword|dedication|index"
    r"|notes?|footnotes|glossary|appendix|bibliography|advertisements?|acknowledge?ments?|errata|copyright)\b"
    r"|(?:a |other )?(?:books|works|stories)? ?by the same author\b|books (?:by|for)\b|dedicated to\b",
    re.I,
)
_LIST = re.compile(r"(?:table of |list of |the )?(?:contents|illustrations|plates|stories|tales)[.:]*\Z", re.I)
_BYLINE = re.compile(
    r"(?:(?:re)?told |written )?by\b|(?:translated|illustrated|illustrations|edited|copyright|printed|published)\b"
    r"|all rights reserved",
    re.I,
)
_ASIDE = re.compile(r"(?:the end|finis|end)\W*\Z|(?:original )?transcriber['’]?s?['’]? notes?[.:—–-]+ ?\S", re.I)
_SMALL_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with"}


@dataclass(frozen=True)
class Piece:
    """A chapter or a tale."""

    title: str
    text: str


@dataclass
class _Section:
    """A heading and the paragraphs below it. Its kind is "" before the first heading of a book."""

    kind: str
    heading: str = ""
    title: str = ""
    blocks: list[str] = field(default_factory=list)

    @property
    def number(self) -> str:
        """Chapter and number of a heading, without the chapter's name; the whole heading of a tale."""
        match = _NUMBERED.match(self.heading)
        return (self.heading[: match.start("mark")] if match else self.heading).upper()

    @property
    def text(self) -> str:
        return "\n\n".join(self.blocks)


def split(text: str, book: str) -> list[Piece]:
    """The chapters or tales of a book in order, with titles: "Book: Chapter" or the tale's own; contents lists, title
    page, prefaces, notes and other matter around the story are left out.

    Headings are "CHAPTER I" and its kin, else titles after a wide gap, else roman numerals, else lines in
    capitals between any blank lines: the first kind that gives two pieces. A book without headings is one piece.
    """
    blocks = _blocks(text)
    ways = [_sections(blocks, kinds) for kinds in (["chapter"], ["tale"], ["numeral"], [], ["tale", "line"])]
    if _stories(ways[1]) > 2 * _stories(ways[0]):
        del ways[0]  # a collection in which a tale or two has chapters
    sections = next((way for way in ways if _stories(way) > 1), _sections(blocks, []))
    kept = [section for section in sections if section.kind not in ("matter", "list", "")]
    opening = [section for section in sections if section.kind in ("", "list") and _prose_in(section) >= OPENING]
    if not _stories(kept) and not opening:  # a short book, or all of it below a heading such as INTRODUCTION
        opening = [max(sections, key=lambda section: len(section.text))]
    pieces = [section for section in sections if section in opening or section in kept]
    return [Piece(_title_of(section, book), section.text) for section in pieces if section.text]


def _title_of(section: _Section, book: str) -> str:
    if section.kind in ("tale", "line"):
        return section.title
    if section.kind in ("", "list", "matter"):
        return book
    chapter = f"Chapter {section.heading}" if section.kind == "numeral" else section.heading
    return f"{book}: {section.title or _tidy(chapter)}"


def _stories(sections: list[_Section]) -> int:
    """How many sections could be stories."""
    return sum(len(section.text) >= SHORTEST for section in sections if section.kind not in ("matter", "list", ""))


def _prose_in(section: _Section) -> int:
    return sum(len(block) for block in section.blocks if _is_prose(block))


def _blocks(text: str) -> list[tuple[str, str]]:
    """The paragraphs of a text, each with its `_kind`."""
    first, *rest = re.split(r"\n(\n+)", text.strip("\n"))
    gaps = ["\n\n", *rest[0::2]]
    return [(_kind(block, len(gap)), block) for gap, block in zip(gaps, [first, *rest[1::2]], strict=True)]


def _sections(blocks: list[tuple[str, str]], headings: list[str]) -> list[_Section]:
    """The book cut at headings of the given kinds, at parts, and at the headings of what is no story."""
    sections = [_Section("")]
    for kind, block in blocks:
        section = sections[-1]
        fresh = not section.blocks
        if kind in ("matter", "list", "part") or kind in headings:
            sections.append(_Section(kind, block.strip(), _name(kind, block.strip())))
        elif fresh and section.kind in ("chapter", "numeral") and not section.title and _is_title(block):
            section.title = _tidy(block)
        elif kind not in ("aside", "numeral") and not (fresh and _is_front(section, block)):
            section.blocks.append(block)
    for n in [n for n, section in enumerate(sections) if section.kind == "list"]:
        _end_list(sections[n + 1 :])
    return sections


def _end_list(sections: list[_Section]) -> None:
    """Demotes the last entry of a contents list, below which more of the front matter stands.

    It is the first section with text after the list, comes after others of its kind, and comes again later.
    """
    last = next((n for n, section in enumerate(sections) if section.text), 0)
    numbers = [section.number for section in sections]
    again = last > 0 and numbers[last] not in numbers[:last] and numbers[last] in numbers[last + 1 :]
    if again and sections[last - 1].kind == sections[last].kind:
        sections[last].kind = "list"
        sections[last].blocks = [block for block in sections[last].blocks if _is_prose(block)]


def _is_front(section: _Section, block: str) -> bool:
    """Whether a paragraph still belongs to a contents list, a title page or the heading of a tale."""
    if section.kind == "list":
        return not _is_prose(block)
    return _is_title(block) and (section.kind == "" or (section.kind == "tale" and block.isupper()))


def _kind(block: str, gap: int) -> str:
    """What a paragraph after `gap` blank lines looks like: "chapter", "part", "numeral", "tale" (a title after a wide
    gap), "line" (capitals), "matter" (preface, notes), "list" (contents), "aside" (THE END, by whom), or "".
    """
    block = block.strip()
    if _ASIDE.match(block):
        return "aside"
    if block.count("\n") > 3:
        return ""
    if (numbered := _NUMBERED.match(block)) and _is_heading(numbered, block):
        return "part" if numbered["part"] else "chapter"
    if _NAMED.fullmatch(block):
        return "chapter"
    if (numeral := _NUMERAL.match(block)) and (not numeral["title"] or _is_title(numeral["title"])):
        return "numeral"
    if _BYLINE.match(block) and _is_title(block[0].upper() + block[1:]):
        return "aside"
    if not _is_title(block.rstrip(".:"), quoted=gap > 1 and not block.isupper()):
        return ""
    if _LIST.match(block):
        return "list"
    if _MATTER.match(block):
        return "matter"
    return "tale" if gap > 1 else "line" if block.isupper() else ""


def _is_heading(numbered: re.Match[str], block: str) -> bool:
    """Whether a paragraph that begins with, say, "Part I" is a heading, and does not go on "had not finished"."""
    title = numbered["title"]
    several = any(_NUMBERED.match(line.strip()) for line in title.split("\n")[1:])  # a contents list
    if several or not block[0].isupper() or len(block) > 300:
        return False
    capitals = block.split()[0].isupper()
    return capitals or not title or title[0] == "\n" or bool(numbered["mark"].strip()) or _is_title(title)


def _is_title(block: str, quoted: bool = False) -> bool:
    """Whether all words, or all long words, are capitalised, without the marks of a sentence.

    What is `quoted` as a whole is mostly said by somebody, or in capitals on a door.
    """
    block = block.strip()
    words = re.findall(r"[^\W\d_][\w'’]*", block)
    if not words or len(block) > 150 or block.count("\n") > 2 or block[-1] in ",;:-—":
        return False
    if not quoted and block[0] in "\"'“‘`" and block[-1] in "\"'”’":
        return False
    if block.isupper():
        return True
    telling = [word for word in words if len(word) > 3] or words
    return block[-1] != "." and words[0][0].isupper() and all(word[0].isupper() for word in telling)


def _is_prose(block: str) -> bool:
    """Whether most lines go on in the middle of a sentence: lists and verses begin each with a capital."""
    lines = [line.lstrip() for line in block.split("\n")[1:]]
    return len(lines) > 1 and sum(line[:1].islower() for line in lines) > 0.6 * len(lines)


def _name(kind: str, heading: str) -> str:
    """The name in a heading, "" if it has only a number, or PROLOGUE, which may be followed by a name."""
    if _NAMED.fullmatch(heading):
        return ""
    match = _NUMERAL.match(heading) if kind == "numeral" else _NUMBERED.match(heading)
    return _tidy(match["title"] if match else heading)


def _tidy(title: str) -> str:
    """A title on one line, without a full stop, and not in capitals."""
    words = title.split()
    if title.isupper():
        words = [word if re.fullmatch(rf"\W*{_ROMAN}\W*", word) else _capitalised(word) for word in words]
        words = [word.lower() if n and word.lower() in _SMALL_WORDS else word for n, word in enumerate(words)]
    return re.sub(r"(\w|\W\W)[.:]+$", r"\1", " ".join(words))


def _capitalised(word: str) -> str:
    """The word, or each of several with hyphens between, with only its first letter large."""
    return re.sub(r"(?<![^\W\d_])(?<![^\W\d_]['’])[^\W\d_]", lambda letter: letter[0].upper(), word.lower())


def pieces_of(data: bytes, book: str) -> list[Piece]:
    """The chapters or tales in the file of a book, clean; `book` is its title."""
    return split(without_emphasis(without_tags(without_licence(decode(data)))), book)
