"""Copies of the votes, with remotes that fail and processes that die. The Hub is the stand-in of tests/hub.py."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

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


def test_the_setting_tells_datasets_from_folders(tmp_path):
    store = VoteStore(tmp_path)
    made = mirrors_for(store, {"STORYGEN_RATINGS": f"ann/votes, {tmp_path}/mount"})
    assert [type(mirror) for mirror in made] == [HubMirror, FolderMirror]
    assert mirrors_for(store, {}) == []


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


@pytest.mark.parametrize("fault", [500, 403, Cut(), Slow(0.3)], ids=str)
def test_a_hub_that_refuses_for_a_while_misses_nothing(hub, tmp_path, started, fault):
    """Failed pushes are sent again whole: nothing is lost, nothing is there twice."""
    store = VoteStore(tmp_path)
    mirror = started(HubMirror(store, "ann/votes", "hf_write"))
    store.append({"n": 0})
    until(lambda: mirror.copied == 1)
    hub.faults["POST .*/commit/"] = [fault] * 3
    records = [store.append({"n": n}) for n in range(1, 4)]
    until(lambda: mirror.copied == 4)
    assert [record["id"] for record in records] == on_hub(hub)[1:]
    assert len(on_hub(hub)) == 4


def test_a_dataset_that_cannot_be_reached_at_first(hub, tmp_path, started):
    """Making the repository at the start once took the app down without a network."""
    hub.faults["POST /api/repos/create"] = [500, 500, 500]
    store = VoteStore(tmp_path)
    mirror = started(HubMirror(store, "ann/votes", "hf_write"))
    record = store.append({"n": 0})
    until(lambda: mirror.copied == 1)
    assert on_hub(hub) == [record["id"]]


def test_without_a_token_votes_stay_here_and_the_status_says_so(hub, tmp_path, started):
    store = VoteStore(tmp_path)
    mirror = started(HubMirror(store, "ann/votes", False))
    store.append({"n": 0})
    until(lambda: mirror.error)
    assert mirror.status().startswith("1 saved, 0 copied to the dataset ann/votes; trying again after: ")
    assert len(list(read_votes(tmp_path))) == 1


def test_an_empty_disk_gets_the_votes_back(hub, tmp_path, started):
    """A Space wakes up with nothing: the ranking must begin with all votes that were pushed, its own new ones added."""
    first = VoteStore(tmp_path / "first")
    mirror = started(HubMirror(first, "ann/votes", "hf_write"))
    old = first.append({"n": 0})
    until(lambda: mirror.copied == 1)
    mirror.close()
    shutil.rmtree(tmp_path / "first")
    store = VoteStore(tmp_path / "second")
    mirror = started(HubMirror(store, "ann/votes", "hf_write"))
    new = store.append({"n": 1})
    [folder] = mirror.folders
    until(lambda: mirror.copied == 1 and old["id"] in {record["id"] for record in read_votes(folder)})
    assert sorted(on_hub(hub)) == sorted([old["id"], new["id"]])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_votes_of_a_process_that_is_ended_reach_the_dataset(hub, tmp_path, started, end):
    """SIGTERM: pushed at exit. SIGKILL: the next process on the same disk pushes what was left."""
    script = f"""
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
from storygen.arena.mirrors import HubMirror
from storygen.arena.votes import VoteStore
store = VoteStore({str(tmp_path)!r})
mirror = HubMirror(store, "ann/votes", "hf_write")
mirror.start()
while not mirror._is_pulled or mirror._pushed_at < 0:
    time.sleep(0.01)
for n in range(5):  # the first push is a minute away from the next
    print(store.append({{"n": n}})["id"], flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    cast = [process.stdout.readline().strip() for _ in range(5)]
    process.send_signal(end)
    process.wait(timeout=30)
    process.stdout.close()
    if end == signal.SIGKILL:
        assert set(on_hub(hub)) < set(cast)
        started(HubMirror(VoteStore(tmp_path), "ann/votes", "hf_write"))
        until(lambda: len(on_hub(hub)) == 5)
    assert sorted(on_hub(hub)) == sorted(cast)


def test_three_replicas_share_a_dataset_and_a_folder(hub, tmp_path):
    """Each has a disk of its own; whoever looks at either place sees the votes of all, each once."""
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
from storygen.arena import mirrors
from storygen.arena.votes import VoteStore
mirrors.SECONDS_BETWEEN_PUSHES = 0.0
store = VoteStore(sys.argv[1])
copies = mirrors.mirrors_for(store, {"STORYGEN_RATINGS": f"ann/votes,{sys.argv[2]}", "HF_TOKEN": "hf_write"})
for mirror in copies:
    mirror.start()
for n in range(20):
    print(store.append({"n": n})["id"], flush=True)
while any(mirror.copied < 20 for mirror in copies):
    time.sleep(0.01)
print("done", flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / f"disk {number}"), str(tmp_path / "mount")],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for number in range(3)
    ]  # fmt: skip
    cast = [process.stdout.readline().strip() for process in processes for _ in range(20)]
    for process in processes:
        assert process.stdout.readline() == "done\n"
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()
    assert sorted(on_hub(hub)) == sorted(cast)
    assert len(set(cast)) == len(cast) == 60
    assert {record["id"] for record in read_votes(tmp_path / "mount")} == set(cast)
