import itertools
import pickle

import numpy as np
import pytest
import torch

from storygen.data.batches import cut_windows, epoch_batches
from storygen.data.shards import PackedStories, write_manifest
from storygen.training.loader import load_steps, plan_steps


@pytest.fixture(scope="module")
def corpus(data):
    stories = PackedStories(data, "train")
    return stories, cut_windows(stories, 64)


def take(plans, count):
    return list(itertools.islice(plans, count))


def test_plans_from_a_position_are_those_of_the_start(corpus):
    """Resuming is nothing but starting at the position that the last step's plan gave."""
    _, windows = corpus
    whole = take(plan_steps(windows, 16384, 3, 2, epoch=0, batch=0), 60)
    assert whole[-1].epoch > 0
    for cut in (1, 17, 44):
        rest = take(plan_steps(windows, 16384, 3, 2, whole[cut - 1].epoch, whole[cut - 1].batch), 60 - cut)
        for ours, theirs in zip(whole[cut:], rest, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours.batches, theirs.batches, strict=True))
            assert (ours.epoch, ours.batch) == (theirs.epoch, theirs.batch)


def test_an_epoch_reads_every_window_once(corpus):
    _, windows = corpus
    plans = itertools.takewhile(lambda plan: plan.epoch == 0, plan_steps(windows, 4096, 0, 1, 0, 0))
    seen = np.concatenate([batch for plan in plans for batch in plan.batches])
    last = max(len(batch) for batch in epoch_batches(windows, 4096, 0, 0))  # it has the next epoch's number
    assert len(windows) - last <= len(seen) == len(np.unique(seen)) < len(windows)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_a_step_without_overlap(corpus, world):
    stories, windows = corpus
    steps = [
        take(load_steps(stories, windows, plan_steps(windows, 1024, 0, 6, 0, 0), rank, world), 3)
        for rank in range(world)
    ]
    [alone] = [take(load_steps(stories, windows, plan_steps(windows, 1024, 0, 6, 0, 0), 0, 1), 3)]
    for number in range(3):
        dealt = [steps[i % world][number].share[i // world] for i in range(6)]
        for (inputs, targets), (expected_inputs, expected_targets) in zip(dealt, alone[number].share, strict=True):
            assert torch.equal(inputs, expected_inputs)
            assert torch.equal(targets, expected_targets)


def test_workers_read_the_same(corpus):
    """On a GPU two processes read ahead; the steps must come in the same order, with the same data."""
    stories, windows = corpus
    plain = take(load_steps(stories, windows, plan_steps(windows, 1024, 0, 2, 0, 0), 0, 1), 5)
    ahead = take(load_steps(stories, windows, plan_steps(windows, 1024, 0, 2, 0, 0), 0, 1, workers=2), 5)
    for ours, theirs in zip(plain, ahead, strict=True):
        assert (ours.plan.epoch, ours.plan.batch) == (theirs.plan.epoch, theirs.plan.batch)
        assert all(
            torch.equal(a, b) for x, y in zip(ours.share, theirs.share, strict=True) for a, b in zip(x, y, strict=True)
        )


def test_another_process_opens_the_corpus_anew(corpus):
    """Sent to a worker by pickle, the memory maps went as copies: the corpus, once for each worker."""
    stories, _ = corpus
    sent = pickle.dumps(stories)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).tokens(3), stories.tokens(3))


def test_the_corpus_is_not_read_whole(tmp_path):
    """A shard of 4 GB of which a few windows are read: memory must grow by those, not by the file."""
    import resource

    stories, length = 1000, 2_000_000
    with (tmp_path / "train-00000.bin").open("wb") as file:
        file.truncate(stories * length * 2)  # a sparse file: it takes no room on the disk
    index = np.stack([np.arange(stories, dtype=np.int64) * length, np.full(stories, length, np.int64)], axis=1)
    (tmp_path / "train-00000.idx").write_bytes(index.tobytes())
    totals = {"stories": stories, "tokens": stories * length, "bytes": stories * length}
    splits = {"train": {**totals, "shards": [{"file": "train-00000", **totals}]}}
    splits["valid"] = {"stories": 0, "tokens": 0, "bytes": 0, "shards": []}
    tokenizer = {"kind": "bpe", "vocab_size": 500, "fingerprint": "y"}
    write_manifest(tmp_path, {"fingerprint": "x", "tokenizer": tokenizer, "splits": splits})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    packed = PackedStories(tmp_path, "train")
    windows = cut_windows(packed, 65_536)
    steps = load_steps(packed, windows, plan_steps(windows, 262_144, 0, 1, 0, 0), 0, 1)
    assert next(steps).share[0][0].shape == (4, 64640)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 500_000_000
