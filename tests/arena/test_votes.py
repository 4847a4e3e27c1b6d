import json
import os
import signal
import subprocess
import sys

import pytest

from storygen.arena.votes import VoteStore, read_votes
from storygen.errors import StorygenError


def test_votes_come_back_with_id_time_and_schema(tmp_path):
    store = VoteStore(tmp_path)
    written = [store.append({"verdict": verdict, "note": "naïve 🦊\n"}) for verdict in ("left", "tie")]
    assert list(read_votes(tmp_path)) == written
    assert all(record["schema"] == 1 and record["id"] and record["ts"] for record in written)


def test_no_file_before_the_first_vote(tmp_path):
    VoteStore(tmp_path / "votes")
    assert not (tmp_path / "votes").exists()


def test_each_store_has_a_file_of_its_own(tmp_path):
    """Two processes appending to one file on a network mount overwrite each other."""
    for store in (VoteStore(tmp_path), VoteStore(tmp_path)):
        store.append({})
    assert len(list(tmp_path.iterdir())) == 2
    assert len(list(read_votes(tmp_path))) == 2


def test_a_torn_last_line_is_skipped(tmp_path):
    store = VoteStore(tmp_path)
    first, _ = store.append({"n": 1}), store.append({"n": 2})
    store.path.write_bytes(store.path.read_bytes()[:-20])
    assert list(read_votes(tmp_path)) == [first]


def test_garbage_and_duplicates_are_skipped(tmp_path):
    store = VoteStore(tmp_path)
    record = store.append({"n": 1})
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe\x00\n[1]\n{}\n" + json.dumps(record).encode() + b"\n")
    assert list(read_votes(tmp_path)) == [record]


def test_acknowledged_votes_survive_sigkill(tmp_path):
    """The thank-you must come after the disk has it: what was printed before the kill is there afterwards."""
    script = f"""
from storygen.arena.votes import VoteStore
store = VoteStore({str(tmp_path)!r})
while True:
    print(store.append({{"text": "x" * 2000}})["id"], flush=True)
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        acknowledged = [process.stdout.readline().strip() for _ in range(40)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert set(acknowledged) <= {record["id"] for record in read_votes(tmp_path)}


@pytest.mark.parametrize("size", [500, 10_000])
def test_a_full_disk_is_reported_and_leaves_no_half_line(tmp_path, size):
    """Half a line without a line break swallows the next vote: a buffered file writes its rest when it is closed."""
    script = f"""
import resource, signal
from storygen.arena.votes import VoteStore
from storygen.errors import StorygenError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = VoteStore({str(tmp_path)!r})
store.append({{"n": 1}})
before = store.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (before + 300, resource.RLIM_INFINITY))
try:
    store.append({{"text": "x" * {size}}})
except StorygenError as error:
    print(error)
assert store.path.stat().st_size == before
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.append({{"n": 2}})
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "the vote could not be saved" in printed
    assert [record["n"] for record in read_votes(tmp_path)] == [1, 2]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorygenError, match="the vote could not be saved"):
        VoteStore(tmp_path / "file" / "votes").append({})
