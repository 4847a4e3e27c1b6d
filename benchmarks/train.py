"""Training speed beside plain PyTorch loops around other people's models of the same shape, in one run.

    python -m benchmarks.train [--give-back]

A step is forward, backward, clipping and AdamW on a fixed batch of random tokens, in float32. The Transformer's peer is
the Llama of `transformers` (its own loss, AdamW fused), the LSTM's is `torch.nn.LSTM` with `torch.nn.Linear`; both have
the same widths, layers, tied embeddings and vocabulary. Contenders take turns, a few steps each, so that a busy moment
hits them alike; the figures are medians. All of them keep freed memory, as the trainer does; --give-back leaves memory
as it is in a loop of one's own. Pause other work first.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from storygen.config import LSTMConfig, TransformerConfig
from storygen.models import LanguageModel, build_model
from storygen.training.cost import flops_per_token
from storygen.training.hardware import keep_freed_memory, matmul_rate
from storygen.training.optimizer import build_optimizer
from storygen.training.settings import TrainConfig
from storygen.training.validation import NextTokenLoss

ROWS, WIDTH, VOCABULARY = 16, 256, 4096
TURNS, STEPS_A_TURN = 7, 3
TRANSFORMER = TransformerConfig(
    vocab_size=VOCABULARY, hidden_size=256, num_layers=6, num_heads=4, intermediate_size=688, context_length=WIDTH
)
RECURRENT = LSTMConfig(
    vocab_size=VOCABULARY, embedding_size=512, hidden_size=512, num_layers=2, context_length=WIDTH
)  # fmt: skip
Step = Callable[[], None]


def our_step(model: LanguageModel, optimizer: str = "adamw", compile: bool = False) -> Step:
    """What the trainer does with a batch."""
    config = TrainConfig(steps=1, optimizer=optimizer)
    loss = torch.compile(NextTokenLoss(model)) if compile else NextTokenLoss(model)
    stepper = build_optimizer(model, config)
    tokens = torch.randint(0, VOCABULARY, (ROWS, WIDTH))

    def step() -> None:
        (loss(tokens, tokens) / tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        stepper.step()
        stepper.zero_grad()

    return step


def plain_step(parameters: list[nn.Parameter], loss: Callable[[Tensor], Tensor]) -> Step:
    """A training loop as one writes it down."""
    stepper = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(0, VOCABULARY, (ROWS, WIDTH))

    def step() -> None:
        loss(tokens).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        stepper.step()
        stepper.zero_grad()

    return step


def llama_step() -> Step:
    """The Llama of `transformers`, in the Transformer's shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=688,
            max_position_embeddings=WIDTH, tie_word_embeddings=True, use_cache=False,
        )
    )  # fmt: skip
    model.train()
    return plain_step(list(model.parameters()), lambda tokens: model(input_ids=tokens, labels=tokens).loss)


class PlainLSTM(nn.Module):
    """The LSTM's shape out of PyTorch's own modules."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 512)
        self.lstm = nn.LSTM(512, 512, num_layers=2, batch_first=True)
        self.projection = nn.Linear(512, 512, bias=False)
        self.head = nn.Linear(512, VOCABULARY, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """The mean loss of predicting the tokens themselves, which costs what predicting others does."""
        outputs, _ = self.lstm(self.embedding(tokens))
        return F.cross_entropy(self.head(self.projection(outputs)).flatten(0, 1), tokens.flatten())


def take_turns(steps: dict[str, Step]) -> dict[str, float]:
    """Median seconds of a step of each."""
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in tqdm(range(TURNS), desc="turns"):
        for name, step in steps.items():
            step()  # the caches are another contender's
            for _ in range(STEPS_A_TURN):
                started = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Prints a Markdown table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--give-back", action="store_true", help="let freed memory go back to the system")
    if not parser.parse_args().give_back:
        keep_freed_memory()
    torch.manual_seed(0)
    rate = matmul_rate(torch.device("cpu"))
    print(f"{torch.get_num_threads()} threads, batch {ROWS} x {WIDTH}, float32 matmul {rate / 1e9:.0f} GFLOP/s")
    plain = PlainLSTM()
    shapes: list[tuple[LanguageModel, dict[str, Step]]] = [
        (
            build_model(TRANSFORMER),
            {
                "transformers' Llama": llama_step(),
                "transformer": our_step(build_model(TRANSFORMER)),
                "transformer, compiled": our_step(build_model(TRANSFORMER), compile=True),
                "transformer, compiled, muon": our_step(build_model(TRANSFORMER), "muon", compile=True),
            },
        ),
        (
            build_model(RECURRENT),
            {
                "torch.nn.LSTM": plain_step(list(plain.parameters()), plain),
                "lstm": our_step(build_model(RECURRENT)),
                "lstm, muon": our_step(build_model(RECURRENT), "muon"),
            },
        ),
    ]
    for model, steps in shapes:
        flops, seconds = flops_per_token(model, WIDTH), take_turns(steps)
        peer = next(iter(seconds.values()))
        print("\n| step | tokens/s | times the first | GFLOP/s | share of matmul |\n|---|---|---|---|---|")
        for name, each in seconds.items():
            tokens = ROWS * WIDTH / each
            used = tokens * flops
            print(f"| {name} | {tokens:,.0f} | {peer / each:.2f} | {used / 1e9:.0f} | {used / rate:.0%} |", flush=True)


if __name__ == "__main__":
    main()
