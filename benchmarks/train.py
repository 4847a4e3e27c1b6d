"""Training speed of both released shapes, and the share of this machine's float32 matrix-product rate that they use.

    python -m benchmarks.train

Medians of several steps (forward, backward, clipping, AdamW) on random tokens, all in one run. Pause other work first.
"""

from collections.abc import Callable

import torch

from benchmarks.timing import matmul_rate, median_seconds
from storygen.config import LSTMConfig, TransformerConfig
from storygen.models import LanguageModel, build_model
from storygen.training.optimizer import build_optimizer
from storygen.training.settings import TrainConfig
from storygen.training.trainer import NextTokenLoss

ROWS, WIDTH, REPEATS = 8, 512, 9


def flops_per_token(model: LanguageModel) -> float:
    """Of a training step, by 6 per weight of a matrix, and for attention 12 * layers * width * mean distance seen."""
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name != "embedding.weight")
    matrices += model.head.weight.numel() if model.config.tie_embeddings else 0
    attention = 0.0
    if isinstance(model.config, TransformerConfig):
        attention = 12 * model.config.num_layers * model.config.hidden_size * WIDTH / 2
    return 6 * matrices + attention


def step_of(model: LanguageModel, compile: bool) -> Callable[[], object]:
    """One training step on a fixed batch."""
    config = TrainConfig(steps=1)
    loss = torch.compile(NextTokenLoss(model)) if compile else NextTokenLoss(model)
    optimizer = build_optimizer(model, config)
    tokens = torch.randint(0, model.config.vocab_size, (ROWS, WIDTH))

    def step() -> None:
        (loss(tokens, tokens) / tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Prints a Markdown table."""
    torch.manual_seed(0)
    rate = matmul_rate(REPEATS)
    print(f"{torch.get_num_threads()} threads, batch {ROWS} x {WIDTH}, float32 matmul {rate / 1e9:.0f} GFLOP/s\n")
    print("| model | parameters | tokens/s | GFLOP/s | share of matmul rate |\n|---|---|---|---|---|")
    for name, config, compile in (
        ("transformer", TransformerConfig(), False),
        ("transformer, compiled", TransformerConfig(), True),
        ("lstm", LSTMConfig(), False),
    ):
        model = build_model(config)
        tokens_per_second = ROWS * WIDTH / median_seconds(step_of(model, compile), REPEATS, warmups=2)
        used = tokens_per_second * flops_per_token(model)
        share = f"{tokens_per_second:,.0f} | {used / 1e9:.0f} | {used / rate:.0%}"
        print(f"| {name} | {model.num_parameters:,} | {share} |", flush=True)


if __name__ == "__main__":
    main()
