import functools
import gzip
import itertools
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from storygen.data import clean_corpus
from storygen.data.shards import PackedStories
from storygen.data.sources import builtin_tales
from storygen.errors import StorygenError
from storygen.tokenizers import load_tokenizer
from train import prepare

KEEP = [
    "--min-words", "0", "--min-letters", "0", "--language", "", "--max-repetition", "0", "--duplicates", "keep",
    "--vocab-size", "300",
]  # fmt: skip
"""Keeps the stories of one line that tests are written with."""


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def write_stories(path, stories):
    path.write_text("".join(json.dumps(story) + "\n" for story in stories))
    return path


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A hundred and fifty of the built-in tales."""
    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        path.write_text("".join(itertools.islice(lines, 150)))
    return path


def test_builtin_corpus(data, tales):
    manifest, tokenizer = manifest_of(data), load_tokenizer(data / "tokenizer.json")
    assert manifest["tokenizer"]["fingerprint"] == tokenizer.fingerprint
    assert manifest["splits"]["train"]["stories"] == 1180
    assert manifest["splits"]["valid"]["bytes"] == sum(len(text.encode()) for text in tales)
    valid = list(PackedStories(data, "valid"))
    assert [tokens.tolist() for tokens in valid] == [tokenizer.framed(tokenizer.encode(text)) for text in tales]
    train = list(PackedStories(data, "train"))
    assert all(tokens[-1] == tokenizer.end_id for tokens in train)
    prompted = sum(int(tokens[0]) == tokenizer.prompt_id for tokens in train)
    assert 0.65 < prompted / len(train) < 0.85  # title, prompt, keywords or nothing, equally often


@pytest.mark.parametrize("kind", ["char", "wordpiece", "unigram"])
def test_every_tokenizer_packs(tmp_path, few, kind):
    prepare.main(["--input", str(few), "--out", str(tmp_path / "x"), "--tokenizer", kind, "--vocab-size", "500"])
    assert manifest_of(tmp_path / "x")["tokenizer"]["kind"] == kind
    assert sum(len(PackedStories(tmp_path / "x", split)) for split in ("train", "valid")) == 150


def test_same_input_gives_the_same_bytes(tmp_path, few):
    for name, workers in (("a", "0"), ("b", "2")):
        command = ["--input", str(few), "--out", str(tmp_path / name), "--vocab-size", "500", "--workers", workers]
        prepare.main(command)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_repeats_get_other_prompts(tmp_path):
    story = {"text": "A fox met a hen. " * 30, "title": "Fox", "prompt": "Write of a fox."}
    path = write_stories(tmp_path / "a.jsonl", [story] * 3)
    prepare.main(["--input", f"{path}@20", "--out", str(tmp_path / "x"), "--valid-fraction", "0", *KEEP])
    stories = {tuple(tokens) for tokens in PackedStories(tmp_path / "x", "train")}
    assert manifest_of(tmp_path / "x")["splits"]["train"]["stories"] == 60
    assert len(stories) == 3


def test_split_is_by_source_where_there_are_enough(tmp_path):
    """Chapters of one book on both sides make a validation figure too good."""
    stories = [
        {"text": f"Chapter {n % 9} of book {n % 60}, told at length.", "source": f"book {n % 60}"} for n in range(540)
    ]
    path = write_stories(tmp_path / "a.jsonl", stories)
    out = tmp_path / "x"
    prepare.main(["--input", str(path), "--out", str(out), "--valid-fraction", "0.3", *KEEP])
    tokenizer = load_tokenizer(out / "tokenizer.json")
    books = {
        split: {tokenizer.decode(tokens).split("book ")[1].split(",")[0] for tokens in PackedStories(out, split)}
        for split in ("train", "valid")
    }
    assert manifest_of(out)["split"] == "by source"
    assert books["valid"]
    assert not books["train"] & books["valid"]


def test_split_is_by_story_where_sources_are_few(tmp_path):
    path = write_stories(tmp_path / "a.jsonl", [{"text": f"Story number {n}.", "source": "one"} for n in range(400)])
    prepare.main(["--input", str(path), "--out", str(tmp_path / "x"), "--valid-fraction", "0.25", *KEEP])
    manifest = manifest_of(tmp_path / "x")
    assert manifest["split"] == "by story"
    assert 60 < manifest["splits"]["valid"]["stories"] < 140


def test_broken_lines_are_reported(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "A good story."}\nnot json\n{"text": "  "}\n')
    prepare.main(["--input", str(path), "--out", str(tmp_path / "x"), "--valid-fraction", "0", *KEEP])
    printed = capsys.readouterr().out
    assert "a.jsonl: 2 stories read, 1 skipped" in printed
    assert "dropped: 1 empty" in printed
    assert "a.jsonl:2: not valid JSON" in printed
    assert manifest_of(tmp_path / "x")["files"][0]["skipped"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to prepare"),
        (["--input", "no.txt"], "no.txt does not exist"),
        (["--source", "tales", "--vocab-size", "100"], "vocabulary of 259 or more"),
        (["--input", "a.txt", "--valid-fraction", "2"], "valid_fraction is 2.0"),
        (["--source", "tales", "--reuse-tokenizer", "no.json"], "no.json does not exist"),
        (["--source", "tales", "--valid-fraction", "0.1"], "there are validation files; leave out"),
        (["--source", "tales", "--tokenizer", "unigram", "--vocab-size", "8"], "unigram tokenizer of 8 tokens cannot"),
        (["--input", "a@\u00b2"], "does not exist"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(StorygenError, match=message):
        prepare.main([*arguments, "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_a_corpus_without_a_usable_story_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(StorygenError, match=r"no usable story in .*a\.jsonl; a\.jsonl:1: not valid JSON"):
        prepare.main(["--input", str(path), "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_an_existing_folder_is_kept_unless_asked(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "precious").write_text("data")
    with pytest.raises(StorygenError, match="exists; give another folder, or --overwrite"):
        prepare.main(["--source", "tales", "--out", str(tmp_path / "x")])
    with pytest.raises(StorygenError, match=r"holds no manifest\.json: it is not replaced"):
        prepare.main(["--source", "tales", "--out", str(tmp_path / "x"), "--overwrite"])
    assert (tmp_path / "x" / "precious").read_text() == "data"


def test_the_stories_themselves_are_never_overwritten(tmp_path):
    write_stories(tmp_path / "a.jsonl", [{"text": "A story."}])
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(StorygenError, match="must not hold, be or lie in the input"):
        prepare.main(["--input", str(tmp_path), "--out", str(tmp_path), "--overwrite"])
    assert (tmp_path / "a.jsonl").exists()


def test_a_validation_file_inside_the_input_folder_is_not_trained_on(tmp_path, capsys):
    """The most natural layout: stories/ with a valid.jsonl in it. Training on it makes every figure too good."""
    folder = tmp_path / "stories"
    folder.mkdir()
    write_stories(folder / "a.jsonl", [{"text": f"Training story {n}."} for n in range(40)])
    valid = write_stories(folder / "valid.jsonl", [{"text": f"Held out story {n}."} for n in range(20)])
    out = tmp_path / "x"
    prepare.main(["--input", str(folder), "--valid", str(valid), "--out", str(out), *KEEP])
    assert "1 files that are named for training and validation" in capsys.readouterr().out
    assert [manifest_of(out)["splits"][split]["stories"] for split in ("train", "valid")] == [40, 20]


def test_a_split_by_source_holds_out_at_least_one(tmp_path):
    stories = [{"text": f"Story {n}.", "source": f"book {n % 25}"} for n in range(250)]
    path = write_stories(tmp_path / "a.jsonl", stories)
    prepare.main(["--input", str(path), "--out", str(tmp_path / "x"), "--valid-fraction", "0.0001", *KEEP])
    assert manifest_of(tmp_path / "x")["splits"]["valid"]["stories"] == 10


def killed_while(stage, command, seen):
    """Starts the command and kills it as soon as `seen()`; whether it was still running."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not seen():
        time.sleep(0.002)
    was_running = process.poll() is None
    process.kill()
    process.wait()
    return was_running


def test_a_killed_run_leaves_nothing_that_looks_finished_and_goes_on(tmp_path, few, monkeypatch):
    """Half a corpus with a manifest would be trained on without anybody noticing; and hours of work are not lost."""
    script = """
import functools, sys
from storygen.data import clean_corpus
from train import prepare
finish = clean_corpus._Shards.finish
def slow(self):
    finish(self)
    print("shard", flush=True)
    import time
    time.sleep(0.2)
clean_corpus._Shards.finish = slow
prepare.CleaningConfig = functools.partial(clean_corpus.CleaningConfig, shard_characters=25_000)
clean_corpus.BATCH_CHARACTERS = 10_000
prepare.main(sys.argv[1:])
"""
    small_shards = functools.partial(clean_corpus.CleaningConfig, shard_characters=25_000)
    monkeypatch.setattr(prepare, "CleaningConfig", small_shards)
    monkeypatch.setattr(clean_corpus, "BATCH_CHARACTERS", 10_000)
    arguments = ["--input", str(few), "--vocab-size", "500", "--workers", "0"]
    prepare.main([*arguments, "--out", str(tmp_path / "whole")])
    out, work = tmp_path / "x", tmp_path / "x.unfinished"
    command = [sys.executable, "-c", script, *arguments, "--out", str(out)]
    for shards in (1, 3):  # in the middle of cleaning, twice
        assert killed_while("cleaning", command, lambda: len(list(work.glob("clean-*.jsonl"))) >= shards)  # noqa: B023
        assert not out.exists()
        assert not list(tmp_path.glob("x*/**/manifest.json"))
    assert killed_while("packing", command, lambda: list(work.glob("packed/*.bin")))
    prepare.main([*arguments, "--out", str(out)])
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (out / file.name).read_bytes(), file.name
    assert not work.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole", "x"]


def test_a_mistake_that_is_put_right_is_not_gone_on_with(tmp_path):
    """The unfinished work of a wrong column was taken up again and again, with the same error."""
    rows = "".join(f"{n},{text}\n" for n, text in enumerate(["a story of the fox and of the hen"] * 3))
    (tmp_path / "a.csv").write_text("number,body\n" + rows)
    out = tmp_path / "x"
    with pytest.raises(StorygenError, match="no usable story in a.csv; .*has no column 'text'; it has number, body"):
        prepare.main(["--source", f"files:{tmp_path}/a.csv", "--out", str(out), *KEEP])
    prepare.main(["--source", f"files:{tmp_path}/a.csv?text=body", "--out", str(out), *KEEP, "--valid-fraction", "0"])
    assert manifest_of(out)["splits"]["train"]["stories"] == 3


def test_another_tokenizer_keeps_the_cleaning_and_packs_anew(tmp_path, few, monkeypatch, capsys):
    """Hours of cleaning must not be lost to a vocabulary, nor the old tokenizer stay."""
    from storygen.data import pack_corpus

    def broken(*_):
        raise KeyboardInterrupt

    out = tmp_path / "x"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pack_corpus.Packer, "__call__", broken)
        prepare.main(["--input", str(few), "--out", str(out), "--vocab-size", "400"])
    cleaned = (tmp_path / "x.unfinished" / "clean-00000.jsonl").stat().st_mtime_ns
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pack_corpus.Packer, "__call__", broken)
        prepare.main(["--input", str(few), "--out", str(out), "--vocab-size", "500"])
    assert "going on with the unfinished work" in capsys.readouterr().err
    assert (tmp_path / "x.unfinished" / "clean-00000.jsonl").stat().st_mtime_ns == cleaned
    prepare.main(["--input", str(few), "--out", str(out), "--vocab-size", "500"])
    assert load_tokenizer(out / "tokenizer.json").vocab_size == 500


@pytest.mark.parametrize("room", [30_000, 120_000])
def test_a_disk_that_fills_is_one_line_and_the_work_goes_on(tmp_path, few, room):
    """The system does not say which file it was, nor did we."""
    command = ["--input", str(few), "--out", str(tmp_path / "x"), "--vocab-size", "400"]
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))  # of a file; a small disk would need to be root
    try:
        with pytest.raises(StorygenError, match=r"x\.unfinished .*; what is finished is kept"):
            prepare.main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    prepare.main(command)
    assert manifest_of(tmp_path / "x")["cleaning"]["kept"] == 150


def test_work_that_was_half_removed_is_begun_anew(tmp_path, few, monkeypatch):
    from storygen.data import pack_corpus

    out = tmp_path / "x"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pack_corpus.Packer, "__call__", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare.main(["--input", str(few), "--out", str(out), "--vocab-size", "400"])
    (tmp_path / "x.unfinished" / "clean-00000.jsonl").unlink()
    prepare.main(["--input", str(few), "--out", str(out), "--vocab-size", "400"])
    assert manifest_of(out)["cleaning"]["kept"] == 150


def test_unfinished_work_inside_the_input_folder_is_no_input(tmp_path, monkeypatch):
    from storygen.data import pack_corpus

    write_stories(tmp_path / "a.jsonl", [{"text": f"The story number {n} of the fox."} for n in range(9)])
    command = ["--input", str(tmp_path), "--out", str(tmp_path / "x"), "--valid-fraction", "0", *KEEP]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pack_corpus.Packer, "__call__", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare.main(command)
    prepare.main(command)
    assert manifest_of(tmp_path / "x")["splits"]["train"]["stories"] == 9


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Killed, by Slurm or for want of memory, it left them behind for good."""
    big = tmp_path / "big.jsonl"
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        big.write_text(lines.read() * 20)
    command = [sys.executable, "-m", "train.prepare", "--input", str(big), "--out", str(tmp_path / "x")]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL)
    parent = psutil.Process(process.pid)
    workers = []
    while process.poll() is None and sum(each.cpu_times().user > 0.4 for each in workers) < 2:  # they have begun
        workers = parent.children()
        time.sleep(0.05)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_stays_flat_as_the_corpus_grows(tmp_path):
    """Six times the text in the same memory: nothing but the sample may be held, in either stage."""
    peaks = []
    for size in (150, 900):
        path = tmp_path / f"{size}.jsonl"
        with path.open("w") as file:
            for number in range(size):
                words = [f"word{(number * 31 + i * i) % 5000}" for i in range(1200)]
                file.write(json.dumps({"text": " ".join(words)}) + "\n")
        script = f"""
from pathlib import Path
from train import prepare

def watched(stage):
    def run(*arguments):
        result = stage(*arguments)  # getrusage would report the parent's peak
        print("peak", Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        return result
    return run

prepare.clean_all, prepare.pack_all = watched(prepare.clean_all), watched(prepare.pack_all)
prepare.main(["--input", {str(path)!r}, "--out", {str(tmp_path / f"out{size}")!r}, "--sample-mb", "1", *{KEEP!r}])
"""
        printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        peaks.append([int(line.split()[1]) for line in printed.splitlines() if line.startswith("peak")])
    cleaned, packed = (larger - smaller for smaller, larger in zip(*peaks, strict=True))
    assert cleaned < 3_000, peaks  # kB; the larger text has 6 MB more
    assert packed < 3_000, peaks


def test_command_line_errors_are_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "train.prepare", "--input", "no.txt", "--out", str(tmp_path / "x")]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr == "error: source 'files:no.txt': input no.txt does not exist\n"
