import functools
import random
import resource
import signal
import time

import pytest
import torch

from storygen.errors import StorygenError
from storygen.training.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from tests.processes import Process
from tests.training.runs import arguments, log_of, same_weights, train


def checkpoint_at(step, size=2):
    return Checkpoint({"w": torch.full((size,), float(step))}, {}, Progress(step=step), {}, {}, {"corpus": "a"})


def test_a_cut_write_leaves_the_old_one(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint_at(3))

    def full_disk(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(StorygenError, match=r"No space left on device.*before it is whole"):
        save_checkpoint(tmp_path, checkpoint_at(4))
    loaded, note = load_checkpoint(tmp_path)
    assert (loaded.progress.step, note) == (3, "")
    assert torch.equal(loaded.model["w"], torch.full((2,), 3.0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_disk_that_fills_up_while_training_costs_no_checkpoint(data, tmp_path):
    """A limit on the size of files, which the kernel enforces, stands for the full disk."""
    run = train(data, tmp_path / "run", "--steps", "2")
    size = (run / "checkpoint.pt").stat().st_size
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size // 2, size // 2))
    command = arguments(data, run, "--steps", "4", "--resume")
    status, _, errors = Process(tmp_path, "train.pretrain", *command, prepare=limit).run()
    assert status == 2
    assert "error: " in errors
    assert "cannot be written" in errors
    assert "Traceback" not in errors
    assert load_checkpoint(run)[0].progress.step == 2
    train(data, run, "--steps", "4", "--resume")
    assert list(log_of(run)) == [1, 2, 3, 4]


def test_the_previous_one_is_found_when_the_newest_is_damaged(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint_at(step))
    newest = tmp_path / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    loaded, note = load_checkpoint(tmp_path)
    assert loaded.progress.step == 2
    assert "checkpoint.pt is damaged" in note
    assert "going on from" in note
    newest.unlink()  # a crash between two renames
    loaded, note = load_checkpoint(tmp_path)
    assert loaded.progress.step == 2
    assert "does not exist; going on from" in note


def test_a_checkpoint_with_wrong_bytes_is_not_taken(tmp_path):
    """Weights of a failing disk would be trained on without a word."""
    for step in (1, 2):
        save_checkpoint(tmp_path, checkpoint_at(step, size=10_000))
    newest = tmp_path / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(255 - byte for byte in content[middle : middle + 100])
    newest.write_bytes(content)
    loaded, note = load_checkpoint(tmp_path)
    assert loaded.progress.step == 1
    assert "does not have its checksum" in note


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damage_without_a_previous_one_is_one_clear_line(data, tmp_path, content):
    run = train(data, tmp_path / "run", "--steps", "1")
    if content is None:
        torch.save({"progress": {}}, run / "checkpoint.pt")
    else:
        (run / "checkpoint.pt").write_bytes(content)
    with pytest.raises(StorygenError, match=r"checkpoint\.pt is damaged"):
        train(data, run, "--steps", "2", "--resume")


SAVING = """
import sys
from pathlib import Path
from storygen.training.checkpoint import save_checkpoint
from tests.training.test_checkpoint import checkpoint_at
for step in range(int(sys.argv[2]), 1_000_000):
    save_checkpoint(Path(sys.argv[1]), checkpoint_at(step, size=1_000_000))
"""


def written_at(folder):
    try:
        return (folder / "checkpoint.pt").stat().st_mtime_ns
    except FileNotFoundError:  # between two renames, too
        return 0


def test_kill_while_saving_always_leaves_a_whole_one(tmp_path):
    """SIGKILL in the middle of a write, again and again: what is found is never older than what was found before."""
    draw, newest = random.Random(0), 0
    script, folder = tmp_path / "saving.py", tmp_path / "run"
    script.write_text(SAVING)
    folder.mkdir()
    for _ in range(10):
        before = written_at(folder)
        process = Process(tmp_path, script, str(folder), str(newest + 1))
        while process.is_running() and written_at(folder) in (0, before):
            time.sleep(0.002)
        time.sleep(draw.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        loaded, _ = load_checkpoint(folder)
        step = loaded.progress.step
        assert step > newest
        assert torch.equal(loaded.model["w"], torch.full((1_000_000,), float(step)))
        newest = step


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_never_was(data, tmp_path):
    """The whole of exact resume: weights, optimizer, schedule, data and dropout, at any step, by SIGKILL."""
    more = ["--steps", "60", "--save-every", "3", "--dropout", "0.1", "--valid-every", "25", "--optimizer", "muon"]
    whole = train(data, tmp_path / "whole", *more)
    killed = tmp_path / "killed"
    draw, kills = random.Random(1), 0
    while True:
        resume = ["--resume"] if (killed / "checkpoint.pt").exists() else ["--overwrite"]
        process = Process(tmp_path, "train.pretrain", *arguments(data, killed, *more, *resume))
        goal = draw.randrange(8, 20) + max(log_of(killed), default=0)
        while kills < 3 and process.is_running():
            if max(log_of(killed), default=0) >= goal:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        if process.wait() == 0:
            break
    assert kills >= 2
    assert log_of(killed) == log_of(whole)
    assert log_of(killed, "valid_bits_per_byte") == log_of(whole, "valid_bits_per_byte")
    assert same_weights(whole, killed)
