from types import SimpleNamespace

import pytest

from storygen.errors import StorygenError
from storygen.training.settings import TrainConfig
from storygen.tuning.sft import LARGEST_BATCH, SMALLEST_BATCH, check_size, default_settings


@pytest.mark.parametrize("tokens", [4_000, 30_000, 500_000, 40_000_000])
def test_a_small_corpus_gets_small_batches(tokens):
    """With batches of thousands of tokens a corpus of twenty stories is over after one step an epoch."""
    settings = default_settings(tokens, 3, lora=False)
    config = TrainConfig(**settings)
    assert config.tokens == 3 * tokens
    assert SMALLEST_BATCH <= config.batch_tokens <= LARGEST_BATCH
    steps = tokens // config.batch_tokens
    assert steps >= 16 or config.batch_tokens == SMALLEST_BATCH
    assert config.warmup_steps <= steps and config.valid_every <= steps
    assert default_settings(tokens, 3, lora=True)["learning_rate"] > config.learning_rate


@pytest.mark.parametrize(
    ("tokens", "valid", "message"),
    [
        (3_999, 5, r"has 3,999 tokens in 7 training stories; fine-tuning needs 4,000 or more"),
        (4_000, 0, "no validation stories, which tell when to stop"),
    ],
)
def test_what_is_too_small_is_refused(tokens, valid, message):
    splits = {"train": {"tokens": tokens, "stories": 7}, "valid": {"stories": valid}}
    with pytest.raises(StorygenError, match=message):
        check_size(SimpleNamespace(manifest={"splits": splits}))
