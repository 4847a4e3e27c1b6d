import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from storygen.data.merge import merge_parts
from storygen.data.shards import PackedStories
from storygen.data.sources import builtin_tales
from storygen.errors import StorygenError
from train import prepare


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The first 300 tales in five files, and ten for validation of which one is among them."""
    folder = tmp_path_factory.mktemp("stories")
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        rows = [json.loads(line) for line in lines][:300]
    for number in range(5):
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[number::5]))
    valid = folder.parent / "valid.jsonl"
    with gzip.open(builtin_tales()[1][0], "rt") as lines:
        held_out = [json.loads(line) for line in lines][:9]
    valid.write_text("".join(json.dumps(row) + "\n" for row in [*held_out, rows[7]]))
    return folder, valid


def command(files, data, out, *more):
    folder, valid = files
    given = ["--input", str(folder), "--valid", str(valid), "--reuse-tokenizer", str(data / "tokenizer.json")]
    return [*given, "--out", str(out), *more]


def texts(folder, split):
    return sorted(tokens.tobytes() for tokens in PackedStories(folder, split))


def test_parts_made_by_several_processes_are_one_corpus(files, data, tmp_path):
    """As Slurm or Ray would start them: each a process that knows its number only."""
    out = tmp_path / "parts"
    script = ["-m", "train.prepare"]
    started = [
        subprocess.Popen([sys.executable, *script, *command(files, data, out, "--only-shard", f"{part}/2")])
        for part in range(2)
    ]
    assert [process.wait() for process in started] == [0, 0]
    with pytest.raises(StorygenError, match="not a packed corpus"):
        PackedStories(out, "train")
    prepare.main(["merge", str(out)])
    whole = tmp_path / "whole"
    prepare.main(command(files, data, whole))
    merged, alone = PackedStories(out, "train"), PackedStories(whole, "train")
    assert len(merged) == len(alone) == 299  # one of them is a validation story
    assert merged.manifest["splits"]["train"]["bytes"] == alone.manifest["splits"]["train"]["bytes"]
    assert texts(out, "valid") == texts(whole, "valid")
    assert np.array_equal(merged.tokens(200), list(merged)[200])


def test_a_merge_of_what_does_not_belong_together_is_refused(files, data, tmp_path):
    out = tmp_path / "parts"
    with pytest.raises(StorygenError, match="nowhere is not a folder"):
        prepare.main(["merge", "nowhere"])
    prepare.main(command(files, data, out, "--only-shard", "0/2"))
    with pytest.raises(StorygenError, match="lacks part 1 of 2"):
        merge_parts(out)
    prepare.main(command(files, data, out, "--only-shard", "1/2", "--chunking", "packed"))
    with pytest.raises(StorygenError, match="part-00001-of-00002 has another chunking than the first part"):
        merge_parts(out)
    prepare.main(command(files, data, out, "--only-shard", "1/3"))
    with pytest.raises(StorygenError, match="parts of different divisions: of 2, 3"):
        merge_parts(out)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("2/2", "write it as 0/4 to 3/4"),
        ("x", "write it as"),
        ("0", "write it as"),
        ("6/9", "part 6 of 9 has nothing to do"),
    ],
)
def test_parts_that_there_are_not(files, data, tmp_path, part, message):
    with pytest.raises(StorygenError, match=message):
        prepare.main(command(files, data, tmp_path / "x", "--only-shard", part))
    assert not (tmp_path / "x").exists()


def test_parts_need_a_common_tokenizer(files, tmp_path):
    """Each would train its own, and the same number would be another word in each."""
    with pytest.raises(StorygenError, match="needs --reuse-tokenizer FILE, as all parts must have the same"):
        prepare.main(["--input", str(files[0]), "--out", str(tmp_path / "x"), "--only-shard", "0/2"])


def test_parts_do_not_split_alone(files, data, tmp_path):
    """Each would draw its own line between training and validation, and a book could be on both sides."""
    command = [
        "--input",
        str(files[0]),
        "--reuse-tokenizer",
        str(data / "tokenizer.json"),
        "--out",
        str(tmp_path / "x"),
    ]
    with pytest.raises(StorygenError, match="needs --valid FILES, or --valid-fraction 0"):
        prepare.main([*command, "--only-shard", "0/2"])
    prepare.main([*command, "--only-shard", "0/2", "--valid-fraction", "0"])
