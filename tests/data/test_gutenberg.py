import socket
import threading

import pytest
from filelock import FileLock

from storygen.data import mirror as mirrors
from storygen.data.book import decode, pieces_of, split, without_emphasis, without_licence, without_tags
from storygen.data.gutenberg import GutenbergSource
from storygen.data.story import ReadReport
from storygen.errors import StorygenError
from tests.data.gutenberg_mirror import CATALOGUE, NEW, GutenbergMirror, catalogue, library, tale

NET = "/files/4/4-0.txt"
PG = "PROJECT GUTENBERG"


@pytest.fixture
def mirror():
    with GutenbergMirror(library()) as mirror:
        yield mirror


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The seconds that were waited, without waiting."""
    waited = []
    monkeypatch.setattr(mirrors.time, "sleep", waited.append)
    return waited


@pytest.fixture
def read(mirror, tmp_path):
    """Reads books of the mirror: stories and report."""

    def read(**settings):
        source = GutenbergSource(mirror=mirror.url, cache=str(tmp_path / "cache"), **settings)
        report = ReadReport("gutenberg")
        return list(source.stories(report)), report

    return read


# --- whole books ---


def test_a_novel_is_its_chapters_and_nothing_else(read):
    """Licence, contents, preface, notes, tags and page numbers must not be learnt, and no sentence may be lost."""
    stories, report = read(ids=["1"])
    boats, storm, letter = (tale(name) for name in ("Nora", "the keeper", "a stranger"))
    wind = (
        "The wind rose so high that the gulls walked home, and the old keeper\nwho had seen\n"
        "many storms said that this one  would be told of."
    )
    assert [(story.title, story.text) for story in stories] == [
        ("The Keeper's Daughter: The Boats", f"{boats}\n\nShe said nothing at all, and then she said No."),
        ("The Keeper's Daughter: The Storm", f"{storm}\n\n{wind}"),
        ("The Keeper's Daughter: Chapter III", f"“Is it you, Mr. ____?” asked Nora.\n\n{letter}"),
    ]
    assert {story.source for story in stories} == {"The Keeper's Daughter (#1)"}
    assert (report.stories, report.skipped) == (3, 0)


def test_an_old_book_in_latin_1_behind_small_print(read, mirror):
    """Etexts of the nineties lie at another address, end their header otherwise, and are not UTF-8."""
    stories, _ = read(ids=["2"])
    assert [(story.title, story.text) for story in stories] == [
        ("Contes du Port: Chapter I", f"{tale('Ysé')}\n\nThe café of Mère Noël was closed."),
        ("Contes du Port: Chapter II", tale("Anaïs")),
    ]
    assert mirror.paths[1:] == ["/cache/epub/2/pg2.txt", "/files/2/2-0.txt", "/files/2/2-8.txt"]


def test_a_collection_is_its_tales_under_their_own_titles(read):
    """A sign in capitals within a tale is no heading, and a tale with parts I and II is one tale."""
    stories, report = read(ids=["3"])
    sign = "Over the door stood, in letters of chalk,\n\nMIND THE STEP\n\nand so they did."
    assert [(story.title, story.text) for story in stories] == [
        ("The Brass Compass", f"{tale('Ada')}\n\n{sign}"),
        ("The Cat Who Could Swim", f"{tale('the cat')}\n\n{tale('the ferryman')}"),
        ('"Over the Bar"', tale("the pilot")),
    ]
    assert report.examples == ['gutenberg:3: only 16 characters below "Fishes\' Wages"']


def test_a_book_without_headings_is_one_story(read):
    [story], _ = read(ids=["4"])
    assert (story.title, story.source) == ("The Net", "The Net (#4)")
    assert story.text == f"{tale('Old Tom', 5)}\n\nAnd that was the end of the net."


# --- choosing ---


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({"author": "A. N. Author"}, [1, 3, 4]),
        ({"author": "author", "language": ""}, [1, 3, 4, 6]),
        ({"author": "marie tete"}, [2]),
        ({"subject": "fairy tales"}, [3]),
        ({"subject": "Children’s Literature"}, [3]),
        ({"title": "tales harbour"}, [3]),
        ({"author": "author", "title": "net"}, [4]),
        ({"ids": ["6", "2"], "title": "net"}, [2, 4, 6]),
        ({"author": "author", "limit": 2}, [1, 3]),
        ({"ids": ["4"], "author": "--"}, [4]),
    ],
)
def test_books_are_found(read, settings, numbers):
    """Words of two subjects made one ("children" here, "literature" there), and "art" was found in "heart"."""
    stories, _ = read(**settings)
    assert sorted({int(story.source.rpartition("#")[2].rstrip(")")) for story in stories}) == numbers


def test_a_missing_book_among_others_is_skipped(read):
    stories, report = read(ids=["4", "5", "7", "99"])
    assert len(stories) == 1
    assert report.skipped == 3
    assert report.examples[0].startswith("gutenberg:7: the catalogue has no such book")
    assert report.examples[2].startswith("gutenberg:5: ") and "files/5/5-8.txt" in report.examples[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ids": ["99"]}, "no story in the books chosen; gutenberg:99: the catalogue has no such book"),
        ({"ids": ["5"]}, "no story in the books chosen; gutenberg:5: http.* has none of cache/epub/5/pg5.txt, "),
        ({"subject": "whales"}, "the catalogue .* has no book with subject 'whales', language 'en'; try fewer words"),
    ],
)
def test_no_book_at_all_is_one_line(read, settings, message):
    with pytest.raises(StorygenError, match=message) as error:
        read(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "ids is \\(\\); give ids, author, title or subject"),
        ({"author": " -- "}, "give ids, author, title or subject"),
        ({"ids": ["11", "0"]}, "each must be a positive whole number"),
        ({"ids": ["x"]}, "each must be a positive whole number"),
        ({"ids": [11]}, "a list of at most 100000 texts"),
        ({"ids": ["11"], "mirror": "mirror.example"}, "begins with https:// or http://"),
        ({"ids": ["11"], "limit": 0}, "limit is 0"),
    ],
)
def test_settings_that_choose_nothing_are_refused(settings, message):
    with pytest.raises(StorygenError, match=message):
        GutenbergSource(**settings)


# --- fetching ---


def test_the_second_reading_needs_no_network(read, mirror, pauses):
    """A corpus of a thousand books must not be fetched again for every change of a setting."""
    first, _ = read(author="author")
    asked, waited = len(mirror.requests), len(pauses)
    second, _ = read(author="author")
    assert second == first
    assert (len(mirror.requests), len(pauses)) == (asked, waited)
    mirror.__exit__()
    assert read(author="author")[0] == first


def test_what_another_process_downloads_is_waited_for(read, mirror, tmp_path):
    """Two processes wrote into one .part, and the cache kept what came of it."""
    (tmp_path / "cache").mkdir()
    got = []
    with FileLock(tmp_path / "cache" / ".lock"):
        reader = threading.Thread(target=lambda: got.extend(read(ids=["4"])[0]))
        reader.start()
        reader.join(0.05)
        (tmp_path / "cache" / "pg_catalog.csv").write_bytes(mirror.files[CATALOGUE])
        (tmp_path / "cache" / "4.txt").write_bytes(mirror.files[NET])
    reader.join()
    assert len(got) == 1
    assert mirror.requests == []


def test_requests_keep_their_distance_and_say_who_asks(read, mirror, pauses):
    read(ids=["1", "4"], pause=3.0)
    assert mirror.paths == [CATALOGUE, "/cache/epub/1/pg1.txt", "/cache/epub/4/pg4.txt", NET]
    assert pauses == [3.0] * 3
    assert all("storygen" in headers["User-Agent"] for _, headers in mirror.requests)


def test_a_cut_download_goes_on_where_it_stopped(read, mirror):
    """Half a book under the name of a whole one would stay in the cache for ever."""
    mirror.faults[NET] = [400]
    [story], _ = read(ids=["4"])
    assert story.text.startswith(tale("Old Tom", 5))
    assert [headers.get("Range") for path, headers in mirror.requests if path == NET] == [None, "bytes=400-"]


def test_another_run_resumes_too_unless_the_file_has_changed(read, mirror, tmp_path):
    """The end of a new edition was sewn to the beginning of the old one."""
    mirror.faults[NET] = [300, 100, 100, 100, 100]
    with pytest.raises(StorygenError, match="4-0.txt cannot be reached \\(100 of \\d+ bytes came\\); try later"):
        read(ids=["4"])
    assert (tmp_path / "cache" / "4.txt.part").stat().st_size == 700
    assert not (tmp_path / "cache" / "4.txt").exists()
    mirror.files[NET] = mirror.files[NET].replace(b"Old Tom", b"Young Tom")
    mirror.modified = NEW
    [story], _ = read(ids=["4"])
    assert mirror.requests[-1][1]["Range"] == "bytes=700-"
    assert story.text.startswith(tale("Young Tom", 5))


def test_a_leftover_that_fits_nothing_is_thrown_away(read, mirror, tmp_path):
    """A .part as long as the file is answered by 416 for ever."""
    mirror.faults[NET] = [len(mirror.files[NET]) - 1]
    read(ids=["4"])
    path = tmp_path / "cache" / "4.txt"
    path.rename(path.with_name("4.txt.part"))
    assert len(read(ids=["4"])[0]) == 1
    assert path.read_bytes() == mirror.files[NET]


def test_a_busy_mirror_is_asked_again_when_it_says(read, mirror, pauses):
    mirror.faults[NET] = [
        (503, {"Retry-After": "7"}),
        (429, {}),
        (500, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    assert len(read(ids=["4"])[0]) == 1
    assert pauses == [1.0, 1.0, 7.0, 2.0, 4.0]  # before the book, its second address, and three retries


def test_a_book_that_always_fails_is_skipped(read, mirror, pauses):
    """One damaged file on the mirror ended a night's download."""
    mirror.faults["/cache/epub/1/pg1.txt"] = [(500, {})] * 9
    stories, report = read(ids=["1", "4"])
    assert {story.title for story in stories} == {"The Net"}
    assert "gutenberg:1: " in report.examples[0] and "answered 500 Internal Server Error" in report.examples[0]
    assert pauses[1:5] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("fault", "message", "requests"),
    [
        ((429, {}), "answered 429 Too Many Requests; try later or another mirror", 5),
        ((403, {}), "answered 403 Forbidden", 1),
        ((503, {"Retry-After": "3600"}), "answered 503 Service Unavailable and asks to wait 3600 seconds", 1),
    ],
)
def test_a_mirror_that_refuses_is_left_alone(read, mirror, fault, message, requests):
    """Going on with the next of a thousand books is how an address gets banned."""
    mirror.faults["/cache/epub/1/pg1.txt"] = [fault] * 9
    with pytest.raises(StorygenError, match=message):
        read(ids=["1", "4"])
    assert len(mirror.requests) == 1 + requests


def test_a_mirror_out_of_reach_is_one_line(tmp_path, pauses):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    source = GutenbergSource(ids=("4",), mirror=url, cache=str(tmp_path))
    with pytest.raises(StorygenError, match="pg_catalog.csv cannot be reached .*refused.*; try later") as error:
        list(source.stories(ReadReport("gutenberg")))
    assert "\n" not in str(error.value)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_page_that_is_no_catalogue_is_refused(read, mirror):
    """The log-in page of a hotel's network was read as a catalogue without books."""
    mirror.files[CATALOGUE] = b"<html>\n<p>Welcome!</p>\n"
    with pytest.raises(StorygenError, match="pg_catalog.csv is not Gutenberg's catalogue \\(no column Authors\\)"):
        read(ids=["4"])


def test_a_damaged_catalogue_is_one_line(read, mirror):
    """A quote that is never closed swallows the rest of the file into one field."""
    mirror.files[CATALOGUE] += b'8,Text,"' + b"x" * 200_000
    with pytest.raises(StorygenError, match="pg_catalog.csv is damaged \\(field larger than field limit"):
        read(ids=["4"])


def test_a_cache_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "file").write_text("")
    source = GutenbergSource(ids=("4",), mirror=mirror.url, cache=str(tmp_path / "file"))
    with pytest.raises(StorygenError, match="file cannot be written: File exists"):
        list(source.stories(ReadReport("gutenberg")))


def test_rows_without_a_number_and_short_rows_are_passed_over(read, mirror):
    mirror.files[CATALOGUE] = catalogue([{"Text#": "x"}, {"Text#": 4, "Title": "The Net"}]) + b"8,Text\n"
    assert len(read(ids=["4"], subject="sea")[0]) == 1


# --- text ---


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeffcafé".encode(), "café"),
        ("caf\xe9 \x93so\x94".encode("latin-1"), "café “so”"),
        (b"one  \r\ntwo\r\n\x00", "one\ntwo\n"),
        (b"one" + b"\n" * 50 + b"two", "one\n\n\n\n\n\ntwo"),
        (b"", ""),
    ],
)
def test_decode(data, text):
    assert decode(data).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "text",
    [
        f"*** START OF THIS {PG} EBOOK A VERY\nLONG TITLE ***\n\nA tale.\n\n*** END OF THIS {PG} EBOOK A VERY",
        f"***START OF THE {PG} EBOOK X***\n\n\nE-text prepared by Me\n\n\nA tale.\n\nEnd of {PG}'s X, by Y",
        f"Etext\n***START**THE SMALL PRINT!**\nLaw.\n*END THE SMALL PRINT! FOR\nA tale.\nEnd of the {PG} X",
        f"A tale.\n\nThe End of the {PG} Etext\n\n***START**THE SMALL PRINT!**\n*END*THE SMALL PRINT!*END*\nx",
        "A tale.",
    ],
)
def test_the_licence_goes(text):
    """The small print stands in front in some files and at the end in others."""
    assert without_licence(text) == "A tale."


def test_a_story_about_production_keeps_its_words():
    text = "Produced by magic.\n\n" + "\n\n".join(["A tale."] * 10) + "\n\nProduced by hand, it shone."
    assert without_licence(text).endswith("A tale.\n\nProduced by hand, it shone.")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("one\n\n[Illustration]\n\nTwo", "one\n\nTwo"),
        ("one\n\n\n\n[Illustration: a [small]\n\nfox]\n\nTWO", "one\n\n\n\nTWO"),
        ("one\n\n[Illustration]\n\n\n\nTWO", "one\n\n\n\nTWO"),
        ("one[1] two[12], three[*] four [the fox] five", "one two, three four [the fox] five"),
        ("one\n\n[Footnote 1: two [sic]\n\nthree]\n\nFour", "one\n\nFour"),
        ("one\n\n[1] A note that\ngoes on.\n\nTwo", "one\n\nTwo"),
        ("won[Pg 12]derful {13} [Page xii]", "wonderful  "),
        ("the old\n\n[Pg 3]\n\nfox ran", "the old\nfox ran"),
        ("The end.\n\n[Pg 3]\n\nThe fox", "The end.\n\nThe fox"),
        ("[Transcriber's Note: one] two", " two"),
        ("[Illustration: never closed\n\ntwo", "two"),
        ("[Sic] stays, as do [ this and ] that", "[Sic] stays, as do [ this and ] that"),
    ],
)
def test_tags_go(raw, expected):
    assert without_tags(raw).strip("\n") == expected


def test_emphasis_goes_and_blanks_stay():
    assert without_emphasis("_so\nit_ is, Mr. ____ and un_believ_able =bold= a = b") == (
        "so\nit is, Mr. ____ and unbelievable bold a = b"
    )


@pytest.mark.parametrize(
    ("headings", "titles"),
    [
        (["CHAPTER I", "CHAPTER II."], ["B: Chapter I", "B: Chapter II"]),
        (["CHAPTER THE FIRST", "CHAPTER THE TWENTY-SECOND"], ["B: Chapter the First", "B: Chapter the Twenty-Second"]),
        (["Chapter 1. The Fox", "Chapter 2: Who Ran?"], ["B: The Fox", "B: Who Ran?"]),
        (
            ["CHAPTER I\nTHE FOX'S DEN", "CHAPTER II\n\nTHE RED-HAIRED\nMAN"],
            ["B: The Fox's Den", "B: The Red-Haired Man"],
        ),
        (["CHAPTER I\n\nDown the Hole", "CHAPTER II The Fox"], ["B: Down the Hole", "B: The Fox"]),
        (["BOOK II\n\nCHAPTER I", "PART THE SECOND\n\nCHAPTER II"], ["B: Chapter I", "B: Chapter II"]),
        (["I", "II."], ["B: Chapter I", "B: Chapter II"]),
        (["I. THE FOX", "II\n\nThe Hen"], ["B: The Fox", "B: The Hen"]),
        (["PROLOGUE", "CHAPTER I"], ["B: Prologue", "B: Chapter I"]),
        (["THE FOX\n\nBY SOMEBODY", "THE HEN AND THE EGG"], ["The Fox", "The Hen and the Egg"]),
        (["The Fox", "The Hen Alone"], ["The Fox", "The Hen Alone"]),
        (["BOOK I", "BOOK II"], ["B: Book I", "B: Book II"]),
    ],
)
def test_headings(headings, titles):
    text = "\n\n\n\n".join(f"{heading}\n\n{tale(str(n))}" for n, heading in enumerate(headings))
    assert [(piece.title, piece.text) for piece in split(text, "B")] == [
        (t, tale(str(n))) for n, t in enumerate(titles)
    ]


def test_headings_between_single_blank_lines():
    text = f"THE FOX\n\n{tale('one')}\n\nTHE HEN\n\n{tale('two')}"
    assert [piece.title for piece in split(text, "B")] == ["The Fox", "The Hen"]


@pytest.mark.parametrize(
    "line",
    ["Part I had played before.", "Chapter two was the best of it, he thought.", "I--I don't know.", '"ALL ABOARD!"'],
)
def test_prose_is_no_heading(line):
    """A paragraph that began with "Part I" was lost."""
    text = f"CHAPTER I\n\n{line}\n\n{tale('a')}\n\nCHAPTER II\n\n{tale('b')}\n\n{line}"
    assert [piece.text for piece in split(text, "B")] == [f"{line}\n\n{tale('a')}", f"{tale('b')}\n\n{line}"]


def test_the_last_line_of_a_contents_list_is_no_chapter():
    """What stood between contents and first chapter became the text of the last chapter."""
    front = "Etymology of some words\n\nof no use to the reader"
    text = f"CONTENTS\n\nCHAPTER I\n\nCHAPTER II\n\n{front}\n\nCHAPTER I\n\n{tale('a')}\n\nCHAPTER II\n\n{tale('b')}"
    assert [(piece.title, piece.text) for piece in split(text, "B")] == [
        ("B: Chapter I", tale("a")),
        ("B: Chapter II", tale("b")),
    ]


def test_a_long_opening_belongs_to_the_story():
    """A first chapter without a heading was taken for a title page."""
    chapters = f"CHAPTER II\n\n{tale('a')}\n\nCHAPTER III\n\n{tale('b')}"
    first, *_ = split(f"THE BOOK\n\n{tale('x', 6)}\n\n{chapters}", "B")
    assert (first.title, first.text) == ("B", tale("x", 6))
    first, *_ = split(f"For my mother\n\n{tale('x', 1)}\n\n{chapters}", "B")
    assert first.title == "B: Chapter II"


def test_a_book_below_a_single_heading_is_not_lost():
    assert [piece.text for piece in split(f"INTRODUCTION\n\n{tale('a')}", "B")] == [tale("a")]
    assert split("", "B") == []


def test_a_megabyte_of_anything_takes_no_time():
    """Regular expressions that try again at every newline or bracket took hours."""
    for odd in ("\n", " ", "[", "_", "=", "[Note ", "I.\n\n", "{", "*** START OF THE PROJECT GUTENBERG "):
        pieces_of(("a" + odd * (200_000 // len(odd)) + "b").encode(), "B")
