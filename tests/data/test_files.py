import csv
import gzip
import io
import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storygen.data import files
from storygen.data.files import LONGEST_STORY, READERS, Columns, find_files, read_file
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError


def read(path):
    report = ReadReport(path.name)
    return list(read_file(path, report)), report


def test_jsonl_keeps_what_is_known_of_a_story(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "one", "title": "T", "prompt": "P", "source": "S", "age": 3}\n\n{"text": "two", "title": null}\n'
    )
    stories, report = read(path)
    assert [(s.text, s.title, s.prompt, s.source) for s in stories] == [
        ("one", "T", "P", "S"),
        ("two", "", "", "a.jsonl"),
    ]
    assert (report.stories, report.skipped) == (2, 0)


def test_broken_lines_are_named_and_skipped(tmp_path):
    """One broken line must not lose the thousand good ones around it, nor vanish without a word."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "one"}\n{"text": \n{"title": "no text"}\n[1]\n{"text": 5}\n{"text": "caf\xe9"}\n{"text": "two"}\n'
    )
    stories, report = read(path)
    assert [story.text for story in stories] == ["one", "two"]
    assert report.skipped == 5
    assert report.examples[0].startswith("a.jsonl:2: not valid JSON")
    assert report.examples[1] == 'a.jsonl:3: no "text" with a string'
    assert report.examples[4] == "a.jsonl:6: not valid UTF-8"


def test_a_byte_order_mark_does_not_cost_the_first_story(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\n')
    assert [story.text for story in read(path)[0]] == ["one"]


def test_a_line_nested_too_deeply_is_skipped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("[" * 100_000 + '\n{"text": "one"}\n')
    assert [story.text for story in read(path)[0]] == ["one"]


def test_text_files_are_split_at_separators(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("First line.\nSecond.\n<|endoftext|>\n\nOther story.\n<|endoftext|>\n<|endoftext|>\n")
    stories, _ = read(path)
    assert [story.text.strip() for story in stories] == ["First line.\nSecond.", "Other story."]


def test_a_text_file_in_another_encoding_is_repaired_and_counted(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain\ncaf\xe9 \x93quoted\x94\n")
    stories, report = read(path)
    assert stories[0].text == "plain\ncafé “quoted”\n"
    assert (report.skipped, report.repaired) == (0, 1)


def test_a_huge_text_file_is_read_in_pieces(tmp_path):
    """Memory must not grow with the file: a 1 GB book list without separators would be one story."""
    path = tmp_path / "a.txt"
    path.write_text(("A sentence of a long book. " * 40 + "\n\n") * 3000)
    stories, _ = read(path)
    assert len(stories) == 4
    assert all(len(story.text) < LONGEST_STORY + 2000 for story in stories)
    assert "".join(story.text for story in stories) == path.read_text()
    path.write_text("A line of a book without empty lines.\n" * 100_000)
    assert max(len(story.text) for story in read(path)[0]) < 2 * LONGEST_STORY + 100


def test_truncated_gzip_keeps_what_came_before(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    lines = "".join(json.dumps({"text": f"story {n} " + str(hash(n * 7919)) * 20}) + "\n" for n in range(2000))
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    stories, report = read(path)
    assert 100 < len(stories) < 2000
    assert "compressed data is broken" in report.examples[-1]


def test_folders_are_searched_and_mistakes_named(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("b")
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "c.pdf").write_text("c")
    assert [path.name for path in find_files([tmp_path])] == ["a.jsonl", "b.txt"]
    with pytest.raises(StorygenError, match="missing.txt does not exist"):
        find_files([tmp_path / "missing.txt"])
    with pytest.raises(StorygenError, match=r"c.pdf is of an unknown kind; known: .txt, .txt.gz, .txt.zst, .jsonl, "):
        find_files([tmp_path / "c.pdf"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorygenError, match="empty holds no"):
        find_files([tmp_path / "empty"])


def test_patterns_name_files(tmp_path):
    for name in ("a.txt", "b.txt", "c.jsonl"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in find_files([tmp_path / "*.txt"])] == ["a.txt", "b.txt"]
    with pytest.raises(StorygenError, match=r"\*\.csv does not exist"):
        find_files([tmp_path / "*.csv"])


ROWS = [
    {"text": f"Story {n}, with a comma\nand a line.", "title": f"T{n}", "prompt": "", "source": "S"} for n in range(3)
]


def write_rows(path, rows):
    """The rows in the kind of file that the name asks for."""
    if ".parquet" in path.name:
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    text = io.StringIO()
    if ".jsonl" in path.name:
        text.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, rows[0], delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
    data = text.getvalue().encode()
    packed = path.name.rsplit(".")[-1]
    with pa.output_stream(str(path), compression={"gz": "gzip", "zst": "zstd"}.get(packed)) as file:
        file.write(data)
    return path


@pytest.mark.parametrize("kind", [k for k in READERS if ".txt" not in k])
def test_every_kind_of_table_gives_the_same_stories(tmp_path, kind):
    stories, report = read(write_rows(tmp_path / f"a{kind}", ROWS))
    assert stories == [Story(row["text"], row["title"], "", "S") for row in ROWS]
    assert (report.stories, report.skipped) == (3, 0)


@pytest.mark.parametrize("kind", [".jsonl", ".csv.gz", ".parquet"])
def test_columns_by_other_names(tmp_path, kind):
    rows = [{"story": "One.", "name": "Title", "writing": "Ask."}]
    path = write_rows(tmp_path / f"a{kind}", rows)
    report = ReadReport("a")
    columns = Columns(text="story", title="name", prompt="writing")
    [story] = read_file(path, report, columns)
    assert (story.text, story.title, story.prompt) == ("One.", "Title", "Ask.")


@pytest.mark.parametrize("kind", [".csv", ".tsv.zst", ".parquet"])
def test_a_missing_column_is_named_with_those_that_there_are(tmp_path, kind):
    path = write_rows(tmp_path / f"a{kind}", [{"story": "One.", "name": "Title"}])
    with pytest.raises(StorygenError, match="has no column 'text'; it has story, name"):
        read(path)


def test_a_line_of_a_hundred_megabytes_is_passed_over(tmp_path, monkeypatch):
    """It would be held in memory, several times; the stories around it are good."""
    monkeypatch.setattr(files, "LONGEST_LINE", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "' + "x" * 5000 + '"}\n{"text": "two"}\n')
    stories, report = read(path)
    assert [story.text for story in stories] == ["one", "two"]
    assert report.examples == ["a.jsonl:2: a line of more than 1,000 characters"]


def test_a_csv_of_one_endless_line(tmp_path):
    """The first line is read for the column names, and what it raised was not caught."""
    path = tmp_path / "a.csv"
    path.write_text('text\n"' + "x" * (files.LONGEST_LINE + 5) + '"\n')
    assert "not valid CSV (field larger" in read(path)[1].examples[0]
    path.write_text('"' + "x" * (files.LONGEST_LINE + 5) + '"\n')
    assert "not valid CSV (field larger" in read(path)[1].examples[0]


def test_broken_rows_of_a_csv_are_skipped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,title\none,A\n"caf\xe9",B\n,C\ntwo,D\n')
    stories, report = read(path)
    assert [story.text for story in stories] == ["one", "", "two"]  # an empty text is cleaning's business
    assert report.examples == ["a.csv:3: not valid UTF-8"]


@pytest.mark.parametrize("kind", [".jsonl.zst", ".csv.zst"])
def test_truncated_zstandard_keeps_what_came_before(tmp_path, kind):
    draw = random.Random(0)
    rows = [{"text": " ".join(str(draw.random()) for _ in range(50))} for _ in range(2000)]
    path = write_rows(tmp_path / f"a{kind}", rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    stories, report = read(path)
    assert 100 < len(stories) < 2000
    assert "compressed data is broken" in report.examples[-1]


def test_a_broken_parquet_file_is_one_line_of_the_report(tmp_path):
    path = write_rows(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    stories, report = read(path)
    assert stories == []
    assert "a.parquet:1: not a whole Parquet file" in report.examples[0]


def test_utf_16_is_told_by_its_byte_order_mark(tmp_path):
    """Windows' Notepad writes it; read as Windows-1252 every second character was a zero."""
    path = tmp_path / "a.txt"
    path.write_bytes("One caf\u00e9.\n<|endoftext|>\nTwo.".encode("utf-16"))
    stories, report = read(path)
    assert [story.text.strip() for story in stories] == ["One caf\u00e9.", "Two."]
    assert report.repaired == 0


def test_an_empty_file_of_any_kind_is_no_error(tmp_path):
    for kind in (".txt", ".jsonl", ".jsonl.gz", ".jsonl.zst"):
        path = tmp_path / f"a{kind}"
        path.write_bytes(b"")
        assert read(path)[0] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(StorygenError, match="shut cannot be read: Permission denied"):
        find_files([tmp_path])
