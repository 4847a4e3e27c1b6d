"""A stand-in for a mirror of Project Gutenberg: a catalogue and a few small books in the form of its files, and faults.

It proves that our code does what it should by HTTP, not that the real mirrors keep their files where it looks. All
texts were written for these tests.
"""

import csv
import email.utils
import http.server
import io
import threading

CATALOGUE = "/cache/epub/feeds/pg_catalog.csv"
COLUMNS = ["Text#", "Type", "Issued", "Title", "Language", "Authors", "Subjects", "LoCC", "Bookshelves"]
OLD, NEW = (email.utils.formatdate(seconds, usegmt=True) for seconds in (1_000_000_000, 1_700_000_000))


class GutenbergMirror:
    """A server on a free local port. `files` maps paths to contents, `faults` a path to what goes wrong there, one
    after another: a status (with headers), or how many bytes are sent before the connection breaks.
    """

    def __init__(self, files):
        self.files, self.faults, self.modified = files, {}, OLD
        self.requests = []  # (path, headers)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def paths(self):
        """What was asked for, in order."""
        return [path for path, _ in self.requests]

    def answer(self, path, headers):
        """Status, headers, body, and how many bytes of it are really sent."""
        self.requests.append((path, headers))
        fault = self.faults[path].pop(0) if self.faults.get(path) else None
        if isinstance(fault, tuple):
            return fault[0], fault[1], b"no", 2
        if path not in self.files:
            return 404, {}, b"not here", 8
        body, status, extra = self.files[path], 200, {"Last-Modified": self.modified}
        if "Range" in headers and headers["If-Range"] == self.modified:
            start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return 416, {}, b"", 0
            extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        return status, extra, body, len(body) if fault is None else fault

    def _handler(self):
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body, sent = mirror.answer(self.path, dict(self.headers))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[:sent])

            def log_message(self, *_):
                pass

        return Handler


def catalogue(rows):
    """The catalogue as the mirror has it: each row a mapping of some of its columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows({"Type": "Text", "Language": "en", "Issued": "2008-06-27", **row} for row in rows)
    return text.getvalue().encode()


def tale(name, paragraphs=3):
    """A tale long enough to count, told of somebody, hard-wrapped."""
    return "\n\n".join(
        f"On morning number {n} {name} went down to the harbour before the\n"
        f"others were awake, and counted the boats that had come in with the\n"
        f"tide. There were {n} more than the day before, and {name} knew why."
        for n in range(1, paragraphs + 1)
    )


MODERN_HEADER = """\
The Project Gutenberg eBook of {title}

This ebook may be read by anybody, says the licence in this place.

Title: {title}

Language: English

Credits: Somebody and the Online Distributed Proofreading Team


*** START OF THE PROJECT GUTENBERG EBOOK {caps} ***


"""
MODERN_FOOTER = """




*** END OF THE PROJECT GUTENBERG EBOOK {caps} ***

Updated editions will replace this one, says the licence in this place.
"""

NOVEL = (
    MODERN_HEADER
    + """\
Produced by Somebody and the Online Distributed Proofreading Team at
https://www.pgdp.net (from images of the library)



[Illustration: THE LIGHTHOUSE

[_Copyright by nobody_]]




THE KEEPER'S DAUGHTER

by A. N. Author

[Transcriber's Note: The spelling of the [first] edition was kept.]


CONTENTS

 CHAPTER I. The Boats
 CHAPTER II. The Storm      17
 CHAPTER III                29


ILLUSTRATIONS

The lighthouse at dawn, seen from the harbour      _Frontispiece_

Nora reads the letter      12


PREFACE

The author of this book thanks the people of the harbour, who told him
all that stands in it, and who were patient with him on many evenings
when he asked for one more tale and forgot to light the lamp for them.


CHAPTER I.
THE BOATS


{boats}

She said _nothing at all_, and then she said =No=.[1]

[Footnote 1: In the [old] speech of the harbour this word

has two meanings.]


CHAPTER II. The Storm

{storm}

[Illustration]

The wind rose so high that the gulls[A] walked home, and the old keeper
who had seen

[Pg 20]

many storms said that this one {{21}} would be told of.

[A] They were herring gulls.



Chapter III

“Is it you, Mr. ____?” asked Nora.

{letter}

THE END




TRANSCRIBER'S NOTES

Two commas were moved.

One of them was moved back.
"""
    + MODERN_FOOTER
)

SMALL_PRINT = """\
The Project Gutenberg Etext of Contes du Port, by A. N. Autre
#1 in our series by A. N. Autre

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this small print here? You know: lawyers.
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*





This etext was prepared by Somebody, somewhere.





FROM THE HARBOUR

I

{first}

The café of Mère Noël was closed.

II

{second}




End of The Project Gutenberg Etext of Contes du Port, by A. N. Autre
"""

TALES = (
    MODERN_HEADER
    + """\
HARBOUR TALES

TOLD FOR CHILDREN

Illustrated by Nobody


CONTENTS

     THE BRASS COMPASS
     THE CAT WHO COULD SWIM
     FISHES' WAGES
     "OVER THE BAR"




THE BRASS COMPASS

BY A. N. AUTHOR


[Illustration: “WHERE IS NORTH?”]

{compass}

Over the door stood, in letters of chalk,

MIND THE STEP

and so they did.




THE CAT WHO COULD SWIM


{cat}

I

{more}




FISHES' WAGES

There were none.




"Over the Bar"


{bar}
"""
    + MODERN_FOOTER
)

PLAIN = (
    MODERN_HEADER
    + """\
The Net

By A. N. Author


{net}

And that was the end of the net.
"""
    + MODERN_FOOTER
)


def filled(book, title, **tales):
    """A book with its title and tales."""
    return book.format(title=title, caps=title.upper(), **tales)


def library():
    """The files of a mirror with four books (1, 2, 3, 4), a lost one (5), a French one (6) and a sound (7)."""
    novel = filled(
        NOVEL, "The Keeper's Daughter", boats=tale("Nora"), storm=tale("the keeper"), letter=tale("a stranger")
    )
    rows = [
        {
            "Text#": 1,
            "Title": "The Keeper's Daughter",
            "Authors": "Author, A. N., 1850-1910",
            "Subjects": "Sea stories",
        },
        {
            "Text#": 2,
            "Title": "Contes du Port\nFrom the harbour",
            "Authors": "Autre, A. N., 1840-1900; Tête, Marie [Translator]",
            "Subjects": "Short stories",
        },
        {
            "Text#": 3,
            "Title": 'Harbour Tales\nA Book, for "Children"',
            "Authors": "Author, A. N., 1850-1910",
            "Subjects": "Cats -- Juvenile fiction; Fairy tales -- Ports",
            "Bookshelves": "Children's Literature; Browsing: Fiction",
        },
        {
            "Text#": 4,
            "Title": "The Net",
            "Authors": "Author, A. N., 1850-1910",
            "Bookshelves": "Sea; Tales of children",
        },
        {"Text#": 5, "Title": "The Lost Book", "Authors": "Nemo"},
        {"Text#": 6, "Title": "Le Phare", "Language": "fr", "Authors": "Author, A. N., 1850-1910"},
        {"Text#": 7, "Title": "The Foghorn", "Type": "Sound", "Authors": "Author, A. N., 1850-1910"},
    ]
    tales = {"compass": tale("Ada"), "cat": tale("the cat"), "more": tale("the ferryman"), "bar": tale("the pilot")}
    return {
        CATALOGUE: catalogue(rows),
        "/cache/epub/1/pg1.txt": b"\xef\xbb\xbf" + novel.replace("\n", "\r\n").encode(),
        "/files/2/2-8.txt": filled(SMALL_PRINT, "", first=tale("Ysé"), second=tale("Anaïs")).encode("latin-1"),
        "/cache/epub/3/pg3.txt": filled(TALES, "Harbour Tales", **tales).encode(),
        "/files/4/4-0.txt": filled(PLAIN, "The Net", net=tale("Old Tom", 5)).encode(),
        "/cache/epub/6/pg6.txt": filled(PLAIN, "Le Phare", net=tale("Gildas", 5)).encode(),
    }
