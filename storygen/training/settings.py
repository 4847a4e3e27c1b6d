"""Settings of a training run."""

from dataclasses import dataclass

from storygen.config import Config, option
from storygen.errors import StorygenError

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig(Config):
    """How a model is trained. At least one of the budgets is needed; the run ends when the first is used up."""

    minutes: float | None = option(
        None, "Budget in minutes of training, earlier parts of a resumed run included.", low=0.01
    )
    steps: int | None = option(None, "Budget in optimizer steps.", low=1)
    tokens: int | None = option(None, "Budget in tokens trained on.", low=1)
    batch_tokens: int = option(4096, "Tokens of one batch, padding included (rows times width).", low=1)
    accumulate: int = option(1, "Batches per process whose gradients are added up for one step.", low=1)
    optimizer: str = option(
        "adamw",
        "AdamW for all weights, or Muon for the matrices between embedding and output.",
        choices=("adamw", "muon"),
    )
    learning_rate: float = option(2e-3, "Highest learning rate of AdamW.", low=0.0)
    muon_learning_rate: float = option(0.02, "Highest learning rate of Muon.", low=0.0)
    muon_momentum: float = option(0.95, "Muon: share of the old mean gradient that is kept.", low=0.0, high=0.9999)
    beta1: float = option(0.9, "AdamW: share of the old mean gradient that is kept.", low=0.0, high=0.9999)
    beta2: float = option(0.95, "AdamW: share of the old mean squared gradient that is kept.", low=0.0, high=0.9999)
    weight_decay: float = option(0.1, "Decay of matrices; gains and biases are never decayed.", low=0.0)
    clip: float = option(1.0, "Longer gradients are scaled down to this norm.", low=1e-6)
    max_skips: int = option(
        5, "Steps in a row whose loss or gradient is not finite that are skipped; one more ends the run.", low=0
    )
    warmup_steps: int = option(50, "Steps in which the learning rate rises from 0.", low=0)
    schedule: str = option(
        "wsd",
        "How the learning rate falls to 0: at the end of the budget, in a line, or all along, as a cosine.",
        choices=("wsd", "cosine"),
    )
    decay_share: float = option(0.4, "wsd: share of the budget, at its end, in which it falls.", low=0.0, high=1.0)
    lora_rank: int = option(
        0,
        "Train low-rank adapters of this rank in place of the weights of the model that is started from; 0: don't.",
        low=0,
    )
    patience: int | None = option(
        None,
        "End after this many validations without a better one, the first before any step; unset: at the budget.",
        low=1,
    )
    valid_every: int = option(250, "Steps between validations.", low=1)
    valid_tokens: int = option(100_000, "Validate on about this many tokens, spread over the split.", low=1)
    save_every: int = option(100, "Steps between checkpoints to resume from.", low=1)
    sample_every: int = option(500, "Steps between samples of the model's writing.", low=1)
    log_every: int = option(10, "Steps between lines in log.jsonl.", low=1)
    precision: str = option(
        "auto",
        "Arithmetic of the matrix products; auto takes half precision where the hardware is good at it.",
        choices=("auto", *PRECISIONS),
    )
    compile: bool | None = option(
        None, "Compile the model with torch.compile: a minute at the start, then faster steps; if unset, where it pays."
    )
    seed: int = option(0, "Draws the first weights, the order of the stories and the dropout.", low=0, high=2**31 - 1)

    def check(self) -> None:
        if self.minutes is None and self.steps is None and self.tokens is None:
            raise StorygenError("a run needs a budget: set minutes, steps or tokens")
        if self.lora_rank and self.optimizer == "muon":
            self.refuse("optimizer", "the factors of an adapter are not what Muon is for; use adamw with lora_rank")
