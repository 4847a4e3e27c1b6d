"""Copies of the votes elsewhere, for servers whose disk does not last: a Hub dataset, or a mounted folder.

A vote is on the local disk before a mirror hears of it. Mirrors work in threads of their own, try again after failures,
and tell how far they are; nobody waits for them.
"""

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitScheduler, get_session, set_client_factory, snapshot_download

from storygen.arena.votes import VoteReader, VoteStore, hash_of, left_behind

VARIABLE = "STORYGEN_RATINGS"
"""Environment variable: where copies of the votes go."""
DATA = "data"
"""Folder of the shards in the dataset."""
PUSH_MINUTES = 5
"""Pushes happen at least so often, even if nobody asks for one."""
SECONDS_BETWEEN_PUSHES = 60.0
"""Pushes after votes keep this distance, so that the Hub's limits on requests are never near."""
SECONDS_FOR_ANSWER = 60.0
"""A Hub that is silent for so long has failed; the library itself would wait for ever."""
SECONDS_BEFORE_RETRY = (5.0, 300.0)
"""After a failure: the first wait, which doubles up to the second."""


class Mirror:
    """A thread that copies what is new whenever it is woken; subclasses say how."""

    folders: tuple[Path, ...] = ()
    """Where votes that the mirror holds can be read."""

    def __init__(self, store: VoteStore) -> None:
        self.store = store
        self.copied = 0
        """How many of this process's votes are copied."""
        self.error = ""
        """Why the last try failed; empty if it did not."""
        self._wake, self._closed = threading.Event(), threading.Event()
        store.on_save.append(self._wake.set)
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        """Begins copying, with what earlier processes left."""
        self._thread.start()

    def copy(self) -> None:
        """Copies what is new; raises when it can't."""
        raise NotImplementedError

    def status(self) -> str:
        """How far it is, in one line."""
        line = f"{self.store.saved} saved, {self.copied} copied to {self}"
        return f"{line}; trying again after: {self.error}" if self.error else line

    def close(self) -> None:
        """Ends the thread; what it has not copied yet is copied by the next process on this disk."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        wait, longest = SECONDS_BEFORE_RETRY
        while not self._closed.is_set():
            self._wake.clear()
            try:
                self.copy()
            except Exception as error:  # what a network or a mount can do is open-ended, and the next try may succeed
                self.error = " ".join(str(error).split())[:200] or type(error).__name__
                self._closed.wait(wait)
                wait = min(2 * wait, longest)
                continue
            self.error, wait = "", SECONDS_BEFORE_RETRY[0]
            self._wake.wait()


class FolderMirror(Mirror):
    """One small file for each vote in a folder, which may be mounted from elsewhere.

    Never a file that grows: mounts of object stores keep only what was written before one close, and two writers
    overwrite each other.
    """

    def __init__(self, store: VoteStore, folder: str | Path) -> None:
        super().__init__(store)
        self.folder = Path(folder)
        self.folders = (self.folder,)
        self._reader = VoteReader(store.path.parent)
        self._waiting: deque[dict[str, Any]] = deque()

    def __str__(self) -> str:
        return str(self.folder)

    def copy(self) -> None:
        saved = self.store.saved
        self._waiting += (record for record, _ in self._reader.new())
        while self._waiting:
            record = self._waiting[0]
            # Ids of this server are hex; another's could name a path.
            write_once(self.folder / f"{hash_of(record['id']):016x}.json", json.dumps(record, ensure_ascii=False))
            self._waiting.popleft()
        self.copied = saved


def write_once(path: Path, text: str) -> None:
    """Writes a file aside and gives it its name when it is whole; one that is there already is left as it is."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text + "\n", encoding="utf-8")
        aside.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def limit_waiting() -> None:
    """Has every HTTP client of the library give up on a silent Hub; when a connection breaks it takes a new one."""
    usual = get_session()
    kind, hooks = type(usual), usual.event_hooks
    set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True, timeout=SECONDS_FOR_ANSWER))


class HubMirror(Mirror):
    """A dataset on the Hub, in which each process has a shard of its own.

    Its votes are pushed some time after they are cast and when the process ends; shards that a killed process left on
    this disk are pushed too. Before that, the shards of the dataset are brought here, so that the ranking knows them.
    """

    def __init__(self, store: VoteStore, repo: str, token: str | None = None) -> None:
        super().__init__(store)
        self.repo, self.token = repo, token
        self._pulled = store.path.parent / "hub"
        self.folders = (self._pulled / DATA,)
        self._pusher: _Pusher | None = None
        self._is_pulled = False
        self._pushed_at = float("-inf")
        limit_waiting()

    def __str__(self) -> str:
        return f"the dataset {self.repo}"

    def copy(self) -> None:
        if self._pusher is None:
            orphans = left_behind(self.store.path.parent)
            self._pusher = _Pusher(self, [self.store.path.name, *(shard.name for shard in orphans)])
        if not self._is_pulled:
            patterns = f"{DATA}/*.jsonl"
            snapshot_download(
                self.repo, repo_type="dataset", allow_patterns=patterns, local_dir=self._pulled, token=self.token
            )
            self._is_pulled = True
        self._closed.wait(max(0.0, self._pushed_at + SECONDS_BETWEEN_PUSHES - time.monotonic()))
        self._pushed_at = time.monotonic()
        self._pusher.trigger().result()

    def close(self) -> None:
        super().close()
        if self._pusher is not None:
            self._pusher.stop()


class _Pusher(CommitScheduler):
    """The library's scheduler, which also pushes at exit, for the shards of one process."""

    def __init__(self, mirror: HubMirror, shards: list[str]) -> None:
        self._mirror = mirror
        super().__init__(
            repo_id=mirror.repo,
            repo_type="dataset",
            folder_path=mirror.store.path.parent,
            path_in_repo=DATA,
            allow_patterns=shards,
            every=PUSH_MINUTES,
            private=True,  # its owner decides whether it becomes public
            token=mirror.token,
        )

    def push_to_hub(self) -> CommitInfo | None:
        saved = self._mirror.store.saved  # what is on disk now will be in the push
        if saved > self._mirror.copied:  # the library goes by a file's time, which a coarse or changed clock repeats
            self.last_uploaded.pop(self.folder_path / self._mirror.store.path.name, None)
        info = super().push_to_hub()
        self._mirror.copied = saved
        return info


def mirrors_for(store: VoteStore, environment: Mapping[str, str] = os.environ) -> list[Mirror]:
    """The mirrors that STORYGEN_RATINGS names, separated by commas: user/dataset on the Hub, or a folder.

    A folder begins with `/` or `.`, as the name of no dataset does.
    """
    names = [name.strip() for name in environment.get(VARIABLE, "").split(",") if name.strip()]
    token = environment.get("HF_TOKEN")
    return [
        FolderMirror(store, name) if name.startswith(("/", ".")) else HubMirror(store, name, token) for name in names
    ]
