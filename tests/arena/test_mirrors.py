"""Copies of the votes, with remotes that fail and processes that die. The Hub is the stand-in of tests/hub.py."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import close_session, get_session
from huggingface_hub.utils import _http

from storygen.arena import mirrors
from storygen.arena.mirrors import FolderMirror, HubMirror, mirrors_for
from storygen.arena.votes import VoteStore, read_votes
from tests.hub import Cut, Slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without the waits between tries and pushes."""
    monkeypatch.setattr(mirrors, "SECONDS_BEFORE_RETRY", (0.02, 0.05))
    monkeypatch.setattr(mirrors, "SECONDS_BETWEEN_PUSHES", 0.0)


@pytest.fixture
def started():
    """Starts mirrors and ends them after the test: a push at exit would wait for a Hub that is gone."""
    running = []

    def start(mirror):
        running.append(mirror)
        mirror.start()
        return mirror

    yield start
    for mirror in running:
        mirror.close()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def on_hub(hub, repo="datasets/ann/votes"):
    """The ids of all records in a dataset, with repetitions."""
    if repo not in hub.repos:
        return []
    files = hub.repo(repo).files
    shards = [content for path, content in files.items() if path.startswith("data/")]
    return [json.loads(line)["id"] for shard in shards for line in shard.splitlines()]


class Replica:
    """A process that stores votes in `folder` and copies them as a server does; it answers expressions of Python."""

    SCRIPT = """
import json, os, signal, sys
from storygen.arena import mirrors
from storygen.arena.votes import VoteReader, VoteStore
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
folder, copies, mirrors.SECONDS_BETWEEN_PUSHES = sys.argv[1], sys.argv[2], float(sys.argv[3])
mirrors.SECONDS_BEFORE_RETRY, mirrors.SECONDS_FOR_ANSWER = (0.02, 0.05), 0.5
store = VoteStore(folder)
made = mirrors.mirrors_for(store, {"STORYGEN_RATINGS": copies, "HF_TOKEN": "hf_write"})
reader = VoteReader(folder, *(place for mirror in made for place in mirror.folders))
for mirror in made:
    mirror.start()
for question in sys.stdin:
    print(eval(question), flush=True)
"""

    def __init__(self, hub, folder, copies="ann/votes", seconds_between_pushes=0.0):
        home = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder) + "-home"}
        arguments = [str(folder), copies, str(seconds_between_pushes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, *arguments], env={**os.environ, **home}, **pipes
        )

    def ask(self, question):
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def cast(self, count=1):
        return [self.ask("store.append({})['id']") for _ in range(count)]

    def copied(self):
        """How many of its votes are copied everywhere."""
        return int(self.ask("min(mirror.copied for mirror in made)"))

    def knows(self):
        """The ids of the votes that came since it was last asked."""
        return json.loads(self.ask("json.dumps([record['id'] for record, _ in reader.new()])"))

    def end(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        self.process.communicate(timeout=30)


@pytest.fixture
def replica(hub):
    """Starts replicas, and ends those that the test has not ended."""
    running = []

    def start(*arguments, **settings):
        running.append(Replica(hub, *arguments, **settings))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


def test_the_setting_tells_datasets_from_folders(tmp_path):
    store = VoteStore(tmp_path)
    made = mirrors_for(store, {"STORYGEN_RATINGS": f"ann/votes, {tmp_path}/mount"})
    assert [type(mirror) for mirror in made] == [HubMirror, FolderMirror]
    assert mirrors_for(store, {}) == []


def test_a_silent_hub_is_given_up_by_a_client_that_was_made_anew_too(tmp_path, monkeypatch):
    """After a refused connection the library takes a new client, which waited for ever."""
    monkeypatch.setattr(mirrors, "SECONDS_FOR_ANSWER", 0.2)
    monkeypatch.setattr(_http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory)  # to be put back
    HubMirror(VoteStore(tmp_path), "ann/votes")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(2):
            with pytest.raises(_http.httpx2.ReadTimeout):
                get_session().get(f"http://127.0.0.1:{silent.getsockname()[1]}")
            close_session()


def test_a_mounted_folder_gets_one_file_for_each_vote(tmp_path, started):
    store = VoteStore(tmp_path / "votes")
    early = store.append({"n": 0})  # before the mirror was there: by an earlier process, say
    mirror = started(FolderMirror(store, tmp_path / "mount"))
    records = [early, *(store.append({"n": n}) for n in range(1, 4))]
    until(lambda: mirror.copied == 4)
    files = list((tmp_path / "mount").iterdir())
    assert sorted(json.loads(file.read_text())["n"] for file in files) == [0, 1, 2, 3]
    assert {record["id"] for record in read_votes(tmp_path / "mount")} == {record["id"] for record in records}
    assert mirror.status() == f"4 saved, 4 copied to {tmp_path / 'mount'}"


def test_a_mount_that_is_away_for_a_while_misses_nothing(tmp_path, started):
    store = VoteStore(tmp_path / "votes")
    (tmp_path / "mount").write_text("in the way")
    mirror = started(FolderMirror(store, tmp_path / "mount"))
    store.append({"n": 0})
    until(lambda: mirror.error)
    assert "trying again after" in mirror.status()
    store.append({"n": 1})
    (tmp_path / "mount").unlink()
    until(lambda: mirror.copied == 2)
    assert len(list((tmp_path / "mount").iterdir())) == 2
    assert not mirror.error


def test_an_id_that_is_a_path_writes_nowhere_else(tmp_path, started):
    """Ids of a forged shard once became file names."""
    store = VoteStore(tmp_path / "votes")
    store.append({"id": "../../outside"})
    mirror = started(FolderMirror(store, tmp_path / "a" / "mount"))
    until(lambda: mirror.copied == 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "votes"]
    assert len(list((tmp_path / "a" / "mount").iterdir())) == 1


def test_votes_reach_the_dataset_once_each(hub, tmp_path, started):
    store = VoteStore(tmp_path)
    mirror = started(HubMirror(store, "ann/votes", "hf_write"))
    records = []
    for n in range(3):
        records.append(store.append({"n": n}))
        until(lambda: mirror.copied == len(records))
    assert on_hub(hub) == [record["id"] for record in records]
    assert hub.repo("datasets/ann/votes").private
    assert list(hub.repo("datasets/ann/votes").files) != []
    assert not any(path.endswith((".lock", "secret")) for path in hub.repo("datasets/ann/votes").files)


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        *(("POST .*/commit/", fault) for fault in (500, 403, Cut(), Slow(60))),
        ("POST /api/repos/create", 500),
        ("POST /api/repos/create", Slow(60)),
        ("GET /api/datasets/ann/votes/revision", 500),
    ],
    ids=str,
)
def test_a_hub_that_fails_for_a_while_misses_nothing(hub, tmp_path, replica, request_, fault):
    """Failed pushes are sent again whole: nothing is lost, nothing is there twice.

    A Hub that took a push and fell silent once held up all that came after it; one that failed at the start took the
    app down.
    """
    hub.faults[request_] = [fault] * 3
    each = replica(tmp_path / "votes")
    cast = each.cast()
    until(lambda: len(hub.faults[request_]) < 3)
    cast += each.cast(2)
    until(lambda: each.copied() == 3)
    cast += each.cast()
    until(lambda: each.ask("made[0].status()") == "4 saved, 4 copied to the dataset ann/votes")
    assert on_hub(hub) == cast


def test_without_a_token_votes_stay_here_and_the_status_says_so(hub, tmp_path, started):
    store = VoteStore(tmp_path)
    mirror = started(HubMirror(store, "ann/votes", False))
    store.append({"n": 0})
    until(lambda: mirror.error)
    assert mirror.status().startswith("1 saved, 0 copied to the dataset ann/votes; trying again after: ")
    assert len(list(read_votes(tmp_path))) == 1


def test_an_empty_disk_gets_the_votes_back(hub, tmp_path, replica):
    """A Space wakes up with nothing: the ranking must begin with all votes that were pushed, its own new ones added."""
    first = replica(tmp_path / "votes")
    old = first.cast(3)
    until(lambda: first.copied() == 3)
    first.end()
    shutil.rmtree(tmp_path / "votes")
    second = replica(tmp_path / "votes")
    found = []
    until(lambda: found.extend(second.knows()) or len(found) == 3)
    new = second.cast(2)
    until(lambda: second.copied() == 2)
    assert found == old
    assert second.knows() == new
    assert sorted(on_hub(hub)) == sorted(old + new)


def test_votes_in_one_tick_of_the_clock_are_all_pushed(hub, tmp_path, replica):
    """The library knows a changed file by its time: what was added at that time again stayed on this disk for ever."""
    each = replica(tmp_path / "votes")
    each.ask("store.on_save.insert(0, lambda: os.utime(store.path, (1e9, 1e9)))")
    cast = []
    for count in (1, 2, 3):
        cast += each.cast()
        until(lambda expected=count: len(on_hub(hub)) == expected)
    assert on_hub(hub) == cast


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_votes_of_a_process_that_is_ended_reach_the_dataset(hub, tmp_path, replica, end):
    """SIGTERM: pushed at exit. SIGKILL: the next process on the same disk pushes what was left."""
    first = replica(tmp_path / "votes", seconds_between_pushes=60)
    until(lambda: first.ask("made[0]._pushed_at > 0") == "True")
    cast = first.cast(5)  # the first push is a minute away from the next
    first.end(end)
    if end == signal.SIGKILL:
        assert set(on_hub(hub)) < set(cast)
        replica(tmp_path / "votes")
        until(lambda: len(on_hub(hub)) == 5)
    assert sorted(on_hub(hub)) == sorted(cast)


def test_two_processes_on_one_folder_push_each_its_own(hub, tmp_path, replica):
    """A push of the other's file would take back what that one has pushed since."""
    both = [replica(tmp_path / "votes") for _ in range(2)]
    cast = [vote for _ in range(5) for each in both for vote in each.cast()]
    until(lambda: all(each.copied() == 5 for each in both))
    assert sorted(on_hub(hub)) == sorted(cast)
    assert set(both[0].knows()) == set(cast)


def test_three_replicas_share_a_dataset_and_a_folder(hub, tmp_path, replica):
    """Each has a disk of its own; whoever looks at either place sees the votes of all, each once."""
    copies = f"ann/votes,{tmp_path / 'mount'}"
    three = [replica(tmp_path / f"disk {number}", copies) for number in range(3)]
    cast = [vote for each in three for vote in each.cast(20)]
    for each in three:
        until(lambda each=each: each.copied() == 20)
        each.end()
    assert sorted(on_hub(hub)) == sorted(cast)
    assert len(set(cast)) == len(cast) == 60
    assert {record["id"] for record in read_votes(tmp_path / "mount")} == set(cast)
