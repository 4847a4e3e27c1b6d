import gzip
import json

import pytest

from storygen.data.files import LONGEST_STORY, find_files, read_file
from storygen.data.sources import builtin_tales
from storygen.data.story import ReadReport
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
    with pytest.raises(StorygenError, match="c.pdf is of an unknown kind; known: .txt, .jsonl, .jsonl.gz"):
        find_files([tmp_path / "c.pdf"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorygenError, match="empty holds no"):
        find_files([tmp_path / "empty"])


def test_the_builtin_corpus_is_whole():
    train, valid = (read(paths[0])[0] for paths in builtin_tales())
    assert (len(train), len(valid)) == (1180, 90)
    assert all(story.title and story.prompt and story.text for story in train + valid)
    assert not {story.text for story in train} & {story.text for story in valid}
