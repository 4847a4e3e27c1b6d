import numpy as np
import pytest
import torch

from storygen.data.batches import IGNORED, collate, cut_windows, epoch_batches
from storygen.data.shards import PackedStories, ShardWriter, write_manifest
from storygen.errors import StorygenError


def finish(folder, writer, vocab_size=1000, **more):
    """Closes the shards and writes the manifest of a corpus with nothing else in it."""
    writer.finish()
    tokenizer = {"kind": "bpe", "vocab_size": vocab_size, "fingerprint": ""}
    splits = {"train": writer.summary(), "valid": ShardWriter(folder, "valid", 1000).summary()}
    write_manifest(folder, {"fingerprint": "", "tokenizer": tokenizer, "splits": splits, **more})


def pack(folder, lengths, **more):
    """Stories of these token counts in shards of about 5,000; token i of story n is (7 n + i) % 1000."""
    writer = ShardWriter(folder, "train", 1000, shard_tokens=5000)
    for number, length in enumerate(lengths):
        writer.add([(7 * number + i) % 1000 for i in range(length)], text_bytes=int(length) * 3)
    finish(folder, writer, **more)
    return PackedStories(folder, "train")


LENGTHS = np.random.default_rng(0).integers(2, 400, 80)


@pytest.fixture
def packed(tmp_path):
    """Stories of 2 to 400 tokens in several shards."""
    pack(tmp_path, LENGTHS)
    return tmp_path


def test_stories_come_back_as_written(packed):
    stories = PackedStories(packed, "train")
    assert len(list(packed.glob("*.bin"))) > 2
    assert len(stories) == 80
    for number, tokens in enumerate(stories):
        assert tokens.tolist() == [(7 * number + i) % 1000 for i in range(len(tokens))]
    assert (stories.text_bytes == stories.length * 3).all()


def test_each_token_is_predicted_once_and_never_across_stories(packed):
    """Windows that run into the next story teach the model that stories continue each other."""
    stories = PackedStories(packed, "train")
    windows = cut_windows(stories, 64)
    assert windows.length.max() <= 64
    seen = set()
    for batch in epoch_batches(windows, 512, seed=0, epoch=0):
        inputs, targets = collate(stories, windows, batch)
        assert inputs.shape[0] * inputs.shape[1] <= 512
        for row, window in enumerate(batch):
            shard, start, length = (int(a[window]) for a in (windows.shard, windows.start, windows.length))
            [story] = np.flatnonzero(
                (stories.shard == shard) & (stories.start <= start) & (start < stories.start + stories.length)
            )
            first = start - int(stories.start[story])
            expected = stories.tokens(story)[first : first + length + 1]
            assert inputs[row, :length].tolist() == expected[:-1].tolist()
            assert targets[row, :length].tolist() == expected[1:].tolist()
            assert (targets[row, length:] == IGNORED).all()
            predicted = {(story, first + i + 1) for i in range(length)}
            assert not predicted & seen
            seen |= predicted
    assert len(seen) == int((stories.length - 1).sum())


def test_packed_windows_predict_every_token_of_a_shard_once(tmp_path):
    """But the first, which nothing comes before."""
    stories = pack(tmp_path, LENGTHS, chunking={"kind": "packed"})
    windows = cut_windows(stories, 64)
    assert len(stories.shard_tokens) > 2
    for shard, tokens in enumerate(stories.shard_tokens):
        mine = windows.shard == shard
        predicted = [
            s + i + 1 for s, n in zip(windows.start[mine], windows.length[mine], strict=True) for i in range(n)
        ]
        assert predicted == list(range(1, tokens))
    assert (windows.length == 64).sum() >= len(windows) - len(stories.shard_tokens)


@pytest.mark.parametrize("stride", [1, 20, 64, 500])
def test_sliding_windows_begin_every_stride_and_reach_the_end(tmp_path, stride):
    """The classic lesson: each token is predicted several times, from contexts of several lengths."""
    stories = pack(tmp_path, LENGTHS[:20], chunking={"kind": "sliding", "stride": stride})
    windows = cut_windows(stories, 64)
    for shard, tokens in enumerate(stories.shard_tokens):
        starts = windows.start[windows.shard == shard]
        ends = starts + windows.length[windows.shard == shard]
        assert starts[0] == 0
        assert set(np.diff(starts)) <= {min(stride, 64)}
        assert ends[-1] == tokens - 1
        assert (ends < tokens - 1).sum() == len(ends) - 1  # no window more than it takes


def test_a_shard_shorter_than_the_context_is_one_window(tmp_path):
    for kind in ("packed", "sliding"):
        (tmp_path / kind).mkdir()
        stories = pack(tmp_path / kind, [5], chunking={"kind": kind, "stride": 2})
        windows = cut_windows(stories, 64)
        assert (windows.start.tolist(), windows.length.tolist()) == ([0], [4])


def test_windows_of_a_long_story_are_nearly_equal(tmp_path):
    """Cutting 65 predictions into 64 and 1 would waste a whole row on one token."""
    assert cut_windows(pack(tmp_path, [66]), 64).length.tolist() == [32, 33]


def test_order_depends_on_seed_and_epoch_alone(packed):
    windows = cut_windows(PackedStories(packed, "train"), 64)
    first = epoch_batches(windows, 512, seed=0, epoch=0)
    again = epoch_batches(windows, 512, seed=0, epoch=0)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (epoch_batches(windows, 512, 1, 0), epoch_batches(windows, 512, 0, 1)):
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_there_are_few_shapes(tmp_path):
    """torch.compile compiles once a shape: only the last batch of an epoch may be an odd one."""
    windows = cut_windows(pack(tmp_path, np.tile(LENGTHS, 50)), 512)
    batches = epoch_batches(windows, 4096, seed=0, epoch=0)
    shapes = {(len(batch), windows.width(batch[windows.length[batch].argmax()])) for batch in batches[:-1]}
    assert shapes <= {(32, 128), (16, 256), (10, 384), (8, 512)}


@pytest.mark.parametrize("suffix", ["bin", "idx"])
def test_damaged_shards_are_refused_before_training(packed, suffix):
    path = packed / f"train-00001.{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    with pytest.raises(StorygenError, match=rf"train-00001.{suffix} has {len(content) - 2} bytes instead of"):
        PackedStories(packed, "train")
    path.unlink()
    with pytest.raises(StorygenError, match=rf"train-00001.{suffix} is missing"):
        PackedStories(packed, "train")


def test_a_folder_that_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(StorygenError, match="not a packed corpus"):
        PackedStories(tmp_path, "train")


def test_large_vocabularies_get_wider_tokens(tmp_path):
    writer = ShardWriter(tmp_path, "train", 70_000)
    writer.add([69_999, 1], text_bytes=5)
    finish(tmp_path, writer, 70_000)
    assert next(iter(PackedStories(tmp_path, "train"))).tolist() == [69_999, 1]
    assert torch.from_numpy(PackedStories(tmp_path, "train").tokens(0)).dtype == torch.int64
