"""Stories from the books of Project Gutenberg: found in its catalogue, downloaded politely, cleaned, split at headings.

The addresses of catalogue and books on a mirror were not checked against the live site, only against a stand-in.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storygen.config import Config, option
from storygen.data.book import SHORTEST, pieces_of
from storygen.data.mirror import Mirror, Missing
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError

_CATALOGUE = "cache/epub/feeds/pg_catalog.csv"
_LONGEST_FIELD = 100_000


@dataclass(frozen=True)
class GutenbergSource(Config):
    """Which books of Project Gutenberg are read, and where from. Books of `ids` are read in any case; author, title,
    subject and language together find others.
    """

    ids: tuple[str, ...] = option((), "Number of a book, as in gutenberg.org/ebooks/11.", high=100_000)
    author: str = option("", "Words of an author's name, in any order.")
    title: str = option("", "Words of a book's title, in any order.")
    subject: str = option("", "Words of a subject or bookshelf, such as fairy tales or children's literature.")
    language: str = option("en", "Language of the books found; empty takes all.")
    limit: int | None = option(None, "Read at most this many books.", low=1)
    mirror: str = option("https://gutenberg.pglaf.org", "Address of a Gutenberg mirror.")
    cache: str = option("~/.cache/storygen/gutenberg", "Folder that keeps the catalogue and the books.")
    pause: float = option(1.0, "Seconds between two requests.", low=0.0, high=3600.0)

    def check(self) -> None:
        if any(not re.fullmatch("[1-9][0-9]{0,8}", number) for number in self.ids):
            self.refuse("ids", "each must be a positive whole number, such as 11")
        if not self.ids and not self._searches:
            self.refuse("ids", "give ids, author, title or subject: all of Gutenberg is too much")
        if not re.match("https?://.", self.mirror):
            self.refuse("mirror", "it must be an address that begins with https:// or http://")

    def stories(self, report: ReadReport) -> Iterator[Story]:
        """The chapters or tales of the books, each book a source of its own.

        Books that the mirror lacks and pieces that are too short are counted in the report, the line being the number
        of the book. StorygenError if the mirror can't be reached, refuses to answer, or has none of the books.
        """
        mirror = Mirror(self.mirror.rstrip("/"), Path(self.cache).expanduser(), self.pause)
        for number, title in self._books(mirror.file("pg_catalog.csv", [_CATALOGUE]), report):
            try:
                path = mirror.file(f"{number}.txt", _addresses(number))
            except Missing as error:
                report.skip(number, str(error))
                continue
            for piece in pieces_of(path.read_bytes(), title):
                if len(piece.text) < SHORTEST:
                    report.skip(number, f"only {len(piece.text)} characters below {piece.title!r}")
                    continue
                report.stories += 1
                yield Story(piece.text, piece.title, source=f"{title} (#{number})")
        if not report.stories:
            raise StorygenError(f"no story in the books chosen; {'; '.join(report.examples[:1])}")

    @property
    def _searches(self) -> bool:
        """Whether other books than those of `ids` are wanted."""
        return any(map(_words, (self.author, self.title, self.subject)))

    def _books(self, catalogue: Path, report: ReadReport) -> list[tuple[int, str]]:
        """Number and title of the chosen books, in the catalogue's order."""
        books, missing = [], set(self.ids)
        for row in _rows(catalogue):
            if row["Type"] == "Text" and (row["Text#"] in missing or self._finds(row)):
                missing.discard(row["Text#"])
                books.append((int(row["Text#"]), row["Title"].strip().split("\n")[0].strip()))
        for number in sorted(missing, key=int):
            report.skip(int(number), f"the catalogue has no such book (remove {catalogue} to fetch a newer one)")
        if not books and not missing:
            asked = {name: getattr(self, name) for name in ("author", "title", "subject", "language")}
            wanted = ", ".join(f"{name} {value!r}" for name, value in asked.items() if value)
            raise StorygenError(f"the catalogue {catalogue} has no book with {wanted}; try fewer words")
        return books[: self.limit]

    def _finds(self, row: dict[str, str]) -> bool:
        shelves = [*row["Subjects"].split(";"), *row["Bookshelves"].split(";")]
        return (
            self._searches
            and _matches(self.author, row["Authors"].split(";"))
            and _matches(self.title, [row["Title"]])
            and _matches(self.subject, shelves)
            and _matches(self.language, row["Language"].split(";"))
        )


def _matches(wanted: str, entries: Iterable[str]) -> bool:
    """Whether all wanted words are in one of the entries."""
    return not wanted or any(_words(wanted) <= _words(entry) for entry in entries)


def _words(text: str) -> set[str]:
    """The words of a text, without regard to case and accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return set(re.findall(r"\w+", "".join(letter for letter in letters if not unicodedata.combining(letter))))


def _rows(catalogue: Path) -> Iterator[dict[str, str]]:
    """The rows of the catalogue; StorygenError if it is none."""
    columns = {"Text#", "Type", "Title", "Language", "Authors", "Subjects", "Bookshelves"}
    with catalogue.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        csv.field_size_limit(_LONGEST_FIELD)  # for the whole process, so every reader sets its own
        reader = csv.DictReader(lines, restval="")
        if absent := columns - set(reader.fieldnames or ()):
            raise StorygenError(
                f"{catalogue} is not Gutenberg's catalogue (no column {min(absent)}); remove it and check the mirror"
            )
        try:
            yield from (row for row in reader if row["Text#"].isdecimal())
        except csv.Error as error:
            raise StorygenError(f"{catalogue} is damaged ({error}); remove it to fetch it again") from None


def _addresses(number: int) -> list[str]:
    """Where a mirror may keep a book's text, the usual place first."""
    endings = ("-0", "-8", "")  # UTF-8, Latin-1, ASCII
    return [f"cache/epub/{number}/pg{number}.txt", *(f"files/{number}/{number}{ending}.txt" for ending in endings)]
