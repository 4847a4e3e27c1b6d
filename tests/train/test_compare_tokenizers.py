import gzip
import itertools

import pytest

from storygen.data.sources import builtin_tales
from storygen.errors import StorygenError
from train import prepare


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A hundred of the built-in tales."""
    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        path.write_text("".join(itertools.islice(lines, 100)))
    return str(path)


def test_kinds_and_sizes_side_by_side(few, capsys):
    prepare.main(["compare-tokenizers", "--source", few, "--sizes", "300", "600"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    names = [(row[0].strip("| "), row[1]) for row in rows]
    assert [name for name, _ in names] == ["char", "bpe", "bpe", "wordpiece", "wordpiece", "unigram", "unigram"]
    ratios = {(name, size): float(row[2]) for (name, size), row in zip(names, rows, strict=True)}
    assert ratios["bpe", "600"] > ratios["bpe", "300"] > ratios["char", names[0][1]]


def test_a_size_that_cannot_be_is_told_in_its_row(few, capsys):
    prepare.main(["compare-tokenizers", "--source", few, "--sizes", "100"])
    assert "vocabulary of 259 or more" in capsys.readouterr().out


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("One.")
    with pytest.raises(StorygenError, match="too little text"):
        prepare.main(["compare-tokenizers", "--input", str(tmp_path / "a.txt")])
