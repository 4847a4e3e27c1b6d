from pathlib import Path

import pytest

from storygen.data.sources import builtin_tales, divide, named_inputs, parse_source, told_apart
from storygen.data.story import ReadReport
from storygen.errors import StorygenError


def read(source):
    report = ReadReport(source.name)
    return list(source.stories(report)), report


def test_the_builtin_corpus_is_whole():
    train, valid = (read(source)[0] for source in reversed(parse_source("tales")))
    train, valid = sorted((train, valid), key=len, reverse=True)
    assert (len(train), len(valid)) == (1180, 90)
    assert all(story.title and story.prompt and story.text for story in train + valid)
    assert not {story.text for story in train} & {story.text for story in valid}


def test_the_tales_bring_their_validation_stories_and_weights_are_for_training():
    train, valid = parse_source("tales@3")
    assert (train.split, train.times, train.path) == ("train", 3, builtin_tales()[0][0])
    assert (valid.split, valid.times) == ("valid", 1)


def test_files_with_columns_and_a_weight(tmp_path):
    (tmp_path / "a b.csv").write_text("body,name\nOne.,T\n")
    (tmp_path / "c.csv").write_text("body,name\nTwo.,U\n")
    first, second = parse_source(f"files:{tmp_path}/*.csv?text=body&title=name@2", "valid")
    assert (first.name, first.times, first.split) == ("a b.csv", 2, "valid")
    assert [(s.text, s.title) for source in (first, second) for s in read(source)[0]] == [("One.", "T"), ("Two.", "U")]


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_read(tmp_path):
    """One table without the column, among a hundred, must not cost an evening's work."""
    (tmp_path / "a.csv").write_text("story\nOne.\n")
    (tmp_path / "b.csv").write_text("text\nTwo.\n")
    bad, good = parse_source(f"files:{tmp_path}")
    stories, report = read(bad)
    assert stories == []
    assert "has no column 'text'; it has story" in report.examples[0]
    assert [story.text for story in read(good)[0]] == ["Two."]


def test_a_file_whose_name_ends_like_a_weight(tmp_path):
    (tmp_path / "a.txt@2").mkdir()
    (tmp_path / "a.txt@2" / "b.txt").write_text("x")
    [source] = parse_source(f"files:{tmp_path}/a.txt@2")
    assert source.times == 1


def test_remote_sources_get_their_settings():
    [hub] = parse_source("hub:user/name?text=story&limit=5&tags=true&prompt=ask@4")
    config = hub.stories.__self__
    assert (config.repo, config.text, config.limit, config.tags, hub.times) == ("user/name", "story", 5, True, 4)
    [tiny] = parse_source("tinystories?split=validation", "valid")
    assert (tiny.stories.__self__.split, tiny.split) == ("validation", "valid")
    [books] = parse_source("gutenberg:11, 35")
    assert books.stories.__self__.ids == ("11", "35")
    [found] = parse_source("gutenberg:?subject=fairy tales&pause=0.5&limit=3")
    assert (found.stories.__self__.subject, found.stories.__self__.pause, found.stories.__self__.limit) == (
        "fairy tales", 0.5, 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gutenburg:11", "no such file, and unknown kind of source 'gutenburg'; did you mean 'gutenberg'"),
        ("gutenberg:", "give ids, author, title or subject"),
        ("gutenberg:eleven", "each must be a positive whole number"),
        ("hub:user/name?colum=x", "unknown HubSource field 'colum'; known: repo"),
        ("hub:name", "repo is 'name'"),
        ("hub:user/name?limit=many", "limit is 'many'; it must be"),
        ("tales?split=x", "the built-in tales take no settings"),
        ("tinystories:x", r"write tinystories\?split="),
        ("files:none.txt", "source 'files:none.txt': input none.txt does not exist"),
        ("tales@0", "the number after @ must be 1 or more"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(StorygenError, match=message):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gutenburg:?subject=x", "no such file, and unknown kind of source 'gutenburg'; did you mean 'gutenberg'"),
        ("tinystory", "unknown kind of source 'tinystory'; did you mean 'tinystories'"),
        ("tinystory@2", "did you mean 'tinystories'"),
        ("poems:?text=x", "unknown kind of source 'poems'; known: tales, files, gutenberg"),
        ("chapters", "input chapters does not exist"),
        ("tales/new.txt", "input tales/new.txt does not exist"),
    ],
)
def test_a_mistyped_kind_is_not_taken_for_a_path(text, message):
    """It was answered with a missing file, or with a column that is unknown."""
    with pytest.raises(StorygenError, match=message):
        named_inputs([text], "train")


def test_a_file_may_be_called_like_a_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tales").mkdir()
    Path("tales/a.txt").write_text("One.")
    Path("tinystory.txt").write_text("Two.")
    assert [each.path.name for each in named_inputs(["tales", "tinystory.txt"], "train")] == ["a.txt", "tinystory.txt"]


def test_files_of_the_same_name_are_told_apart(tmp_path):
    """Of a thousand books called text.txt one is cut, and the report doesn't say which."""
    a, b, c = (Path("/x") / name for name in ("1/text.txt", "2/text.txt", "c.txt"))
    assert told_apart([a, b, c]) == {a: "1/text.txt", b: "2/text.txt", c: "c.txt"}
    for folder in ("a/new", "b/new"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.jsonl").write_text("{}\n")
    valid, train, _ = divide([str(tmp_path / "a")], [str(tmp_path / "b")])
    assert [each.name for each in train + valid] == ["a/new/x.jsonl", "b/new/x.jsonl"]
    report = ReadReport(train[0].name)
    assert not list(train[0].stories(report))
    assert report.examples == ['a/new/x.jsonl:1: no "text" with a string']


def test_a_dataset_on_the_hub_is_divided_with_its_limit():
    [source] = parse_source("hub:user/name?limit=7")
    parts = [source.part(number, 3).stories.__self__ for number in range(3)]
    assert [(part.part, part.parts, part.limit) for part in parts] == [(0, 3, 3), (1, 3, 2), (2, 3, 2)]
    assert source.part(1, 3).settings != source.part(2, 3).settings
