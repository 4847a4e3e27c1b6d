import json
import os
import signal
import subprocess
import sys

import pytest

from storygen.arena.votes import VoteReader, VoteStore, left_behind, read_votes
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
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert len(list(read_votes(tmp_path))) == 2


def run(script, **settings):
    """Runs Python in a process of its own."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, **settings)


def test_a_line_that_its_writer_did_not_finish_is_skipped(tmp_path):
    """A process dies in the middle of a write: half a vote must not be read, nor spoil those before and after."""
    script = f"""
import os, signal
from storygen.arena.votes import VoteStore
store = VoteStore({str(tmp_path)!r})
for n in (1, 2):
    store.append({{"n": n}})
write = os.write
def die(file, line):
    write(file, line[:-20])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = die
store.append({{"n": 3}})
"""
    assert run(script).returncode == -signal.SIGKILL
    [shard] = tmp_path.glob("*.jsonl")
    assert shard.read_bytes().count(b"\n") == 2
    assert not shard.read_bytes().endswith(b"\n")
    VoteStore(tmp_path).append({"n": 4})
    assert sorted(record["n"] for record in read_votes(tmp_path)) == [1, 2, 4]


def test_garbage_and_duplicates_are_skipped(tmp_path):
    store = VoteStore(tmp_path)
    record = store.append({"n": 1})
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe\x00\n[1]\n{}\n" + json.dumps(record).encode() + b"\n")
    assert list(read_votes(tmp_path)) == [record]


@pytest.mark.parametrize("note", [b'"\\ud800"', b'"\xed\xa0\x80"', b"[" * 1000 + b"]" * 1000, b"NaN"], ids=range(4))
def test_what_could_not_be_written_again_is_damage(tmp_path, note):
    """Half a surrogate pair, written raw, broke the export; so would deep nesting, and NaN is no JSON."""
    (tmp_path / "x.jsonl").write_bytes(b'{"id": "1", "note": ' + note + b"}\n" + b'{"id": "2"}\n')
    assert [record["id"] for record in read_votes(tmp_path)] == ["2"]


def test_a_mark_that_an_editor_put_before_the_first_record_is_no_damage(tmp_path):
    """Notepad writes one; the vote after it was as good as the others."""
    (tmp_path / "x.jsonl").write_bytes('{"id": "1"}\n'.encode("utf-8-sig"))
    assert [record["id"] for record in read_votes(tmp_path)] == ["1"]


def test_acknowledged_votes_survive_sigkill(tmp_path):
    """The thank-you must come after the disk has it: what was printed before the kill is there afterwards.

    Killed again and again, with two processes on one folder, until a thousand votes were acknowledged.
    """
    script = f"""
from storygen.arena.votes import VoteStore
store = VoteStore({str(tmp_path)!r})
while True:
    print(store.append({{"text": "x" * 2000}})["id"], flush=True)
"""
    acknowledged = []
    while len(acknowledged) < 1000:
        command = [sys.executable, "-c", script]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in processes:
            acknowledged += [process.stdout.readline().strip() for _ in range(170)]
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            acknowledged += [line.strip() for line in process.stdout if len(line) == 33]
            process.stdout.close()
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= {record["id"] for record in read_votes(tmp_path)}
    assert len(left_behind(tmp_path)) == len(list(tmp_path.glob("*.jsonl")))


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
    assert "the vote could not be saved" in run(script, check=True).stdout
    assert [record["n"] for record in read_votes(tmp_path)] == [1, 2]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorygenError, match="the vote could not be saved"):
        VoteStore(tmp_path / "file" / "votes").append({})


def ids(reader):
    return [record["id"] for record, _ in reader.new()]


def test_a_reader_goes_on_where_it_stopped(tmp_path):
    """With a line that another process has half written: it must neither be skipped nor read in halves."""
    store, reader = VoteStore(tmp_path), VoteReader(tmp_path)
    first = store.append({"n": 1})
    assert ids(reader) == [first["id"]]
    line = json.dumps({"id": "late", "n": 2}).encode() + b"\n"
    with store.path.open("ab", buffering=0) as shard:
        shard.write(line[:9])
        assert ids(reader) == []
        shard.write(line[9:])
    assert ids(reader) == ["late"]
    other = VoteStore(tmp_path).append({"n": 3})
    assert ids(reader) == [other["id"]]
    assert not reader.damaged


def test_a_record_that_stands_in_two_folders_is_one(tmp_path):
    """The copies that come back from the Hub must not count again."""
    (tmp_path / "a").mkdir()
    store = VoteStore(tmp_path / "a")
    record = store.append({"n": 1})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.jsonl").write_bytes(store.path.read_bytes())
    (tmp_path / "b" / "one.json").write_text(json.dumps(record))
    assert ids(VoteReader(tmp_path / "a", tmp_path / "b", tmp_path / "absent")) == [record["id"]]


def test_binary_garbage_is_counted_and_harms_nothing_else(tmp_path, monkeypatch):
    """A gigabyte without a line break must not be read into memory at once."""
    monkeypatch.setattr("storygen.arena.votes.MAX_LINE", 1000)
    record = VoteStore(tmp_path).append({"n": 1})
    (tmp_path / "0.jsonl").write_bytes(b"\xff\x00" * 5000 + b"\n" + json.dumps({"id": "after"}).encode() + b"\n")
    reader = VoteReader(tmp_path)
    assert ids(reader) == ["after", record["id"]]
    assert dict(reader.damaged) == {"0.jsonl": 1}


def test_a_clock_that_goes_backwards_loses_nothing(tmp_path):
    """Times are told, not relied on: neither ids nor the order in a file come from them."""
    script = f"""
from datetime import datetime, timedelta
from storygen.arena import votes
class Clock(datetime):
    behind = timedelta()
    @classmethod
    def now(cls, zone):
        return datetime.now(zone) - cls.behind
votes.datetime = Clock
store = votes.VoteStore({str(tmp_path)!r})
store.append({{"n": 1}})
Clock.behind = timedelta(days=9999)
store.append({{"n": 2}})
votes.VoteStore({str(tmp_path)!r}).append({{"n": 3}})
"""
    run(script, check=True)
    found = {record["n"]: record for record in read_votes(tmp_path)}
    assert set(found) == {1, 2, 3}
    assert found[2]["ts"] <= found[3]["ts"] < found[1]["ts"]
    assert len({record["id"] for record in found.values()}) == 3


def test_shards_of_living_processes_are_not_left_behind(tmp_path):
    """A process that pushes another's shard could overwrite what that one has pushed since."""
    alive, gone = VoteStore(tmp_path), VoteStore(tmp_path)
    alive.append({})
    gone.append({})
    gone._held.release()
    assert left_behind(tmp_path) == [gone.path]
