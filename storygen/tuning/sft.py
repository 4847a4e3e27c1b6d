"""Settings of a fine-tuning on stories, from how much there is of them."""

from typing import Any

from storygen.data.shards import PackedStories
from storygen.errors import StorygenError

FEWEST_TOKENS = 4000
"""Of a corpus worth tuning on: some twenty short stories. From fewer a model learns them by heart and nothing else."""
EPOCHS = 3.0
LEARNING_RATE, LORA_LEARNING_RATE = 2e-4, 2e-3
"""A tenth of what a model is trained with from scratch; adapters, which start at nothing, take ten times that."""
SMALLEST_BATCH, LARGEST_BATCH = 512, 4096
STEPS_IN_EPOCH = 16
"""At least, if the smallest batch allows it: with one large batch a small corpus would be over in a few steps."""
VALIDATIONS_IN_EPOCH, PATIENCE = 2, 3


def check_size(stories: PackedStories) -> None:
    """Refuses a corpus that is too small to learn from, or has nothing to validate on."""
    splits = stories.manifest["splits"]
    if splits["train"]["tokens"] < FEWEST_TOKENS:
        raise StorygenError(
            f"the corpus has {splits['train']['tokens']:,} tokens in {splits['train']['stories']} training stories; "
            f"fine-tuning needs {FEWEST_TOKENS:,} or more, some twenty short stories"
        )
    if not splits["valid"]["stories"]:
        raise StorygenError(
            "the corpus has no validation stories, which tell when to stop; run train.prepare with --valid or a larger "
            "--valid-fraction"
        )


def default_settings(tokens: int, epochs: float, lora: bool) -> dict[str, Any]:
    """Fields of a TrainConfig for `epochs` passes over so many tokens."""
    batch = SMALLEST_BATCH
    while batch < LARGEST_BATCH and 2 * batch * STEPS_IN_EPOCH <= tokens:
        batch *= 2
    steps = max(1, tokens // batch)
    return {
        "tokens": max(1, round(epochs * tokens)),
        "batch_tokens": batch,
        "learning_rate": LORA_LEARNING_RATE if lora else LEARNING_RATE,
        "weight_decay": 0.01,
        "warmup_steps": min(50, steps),
        "valid_every": max(1, steps // VALIDATIONS_IN_EPOCH),
        "patience": PATIENCE,
    }
