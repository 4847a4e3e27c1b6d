import pytest

from storygen.data.files import read_files
from storygen.data.tales import builtin_tales
from storygen.evaluation.copied import look_for_copies
from storygen.evaluation.memorisation import FILE, Index, build_index

ELSEWHERE = "a sentence of another book that no tale of the corpus has in it word for word"


@pytest.fixture(scope="module")
def tale():
    return next(read_files(builtin_tales()[0]))


@pytest.fixture
def folder(tmp_path, tale):
    """Of a model that was trained on a tale and on another text."""
    build_index([tale.text, ELSEWHERE]).save(tmp_path / FILE)
    return tmp_path


def test_what_was_copied_is_found_and_where_it_comes_from(folder, tale):
    copied = tale.text.split()[5:25]
    found, source = look_for_copies(" ".join(["Quite", *copied, "anew"]), folder)
    assert (found.longest, found.seen, found.runs) == (20, 13, 15)
    assert (source.title, source.length) == (tale.title, 20)


def test_a_source_is_told_only_if_it_has_all_of_the_stretch(folder):
    found, source = look_for_copies(ELSEWHERE, folder)
    assert (found.longest, source) == (17, None)
    found, source = look_for_copies("too short to say", folder)
    assert (found.runs, found.longest, source) == (0, 0, None)


def test_the_index_is_read_once(folder, monkeypatch):
    """It has up to 30 MB: read for each story, it would cost more than the story."""
    read, load = [], Index.load
    monkeypatch.setattr(Index, "load", lambda path: read.append(path) or load(path))
    for _ in range(3):
        look_for_copies(ELSEWHERE, folder)
    assert read == [folder / FILE]


def test_without_an_index_nothing_is_told_and_a_damaged_one_is_no_error(tmp_path, caplog):
    """A story that was written must not be lost because of what is told below it."""
    assert look_for_copies(ELSEWHERE, tmp_path) is None
    assert not caplog.records
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / FILE).write_bytes(b"no index")
    assert look_for_copies(ELSEWHERE, damaged) is None
    assert "is no index of training text" in caplog.text
