"""Float32 matrix products of this project's shapes: PyTorch's own (MKL) beside oneDNN's, which `models.linear` uses.

    python -m benchmarks.linear

Medians of many runs, in one process. Forward and backward products are those of a training batch of 4,096 tokens; the
few rows are those of a decoding step, with weights laid out beforehand. Pause other work first.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from storygen.models.linear import pack, packed_product, product
from storygen.training.hardware import median_seconds

SHAPES = ((256, 768), (256, 1376), (688, 256), (256, 4096))
"""Inputs and outputs: queries, keys and values; gate and up; down; the output over the vocabulary."""
TOKENS, REPEATS, WARMUPS = 4096, 25, 3


def training_step(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor, w: torch.Tensor
) -> float:
    """Seconds of a product and its two gradients."""
    gradient = torch.randn(len(x), len(w))

    def run() -> None:
        torch.autograd.grad(multiply(x, w), (x, w), gradient)

    return median_seconds(run, REPEATS, WARMUPS)


def main() -> None:
    """Prints two Markdown tables."""
    torch.manual_seed(0)
    print(
        f"{torch.get_num_threads()} threads\n\n| training, {TOKENS} tokens | MKL | oneDNN | ratio |\n|---|---|---|---|"
    )
    for inputs, outputs in SHAPES:
        x = torch.randn(TOKENS, inputs, requires_grad=True)
        w = torch.randn(outputs, inputs, requires_grad=True)
        operations = 6 * TOKENS * inputs * outputs / 1e9
        mkl, onednn = operations / training_step(F.linear, x, w), operations / training_step(product, x, w)
        print(f"| {inputs} to {outputs} | {mkl:.0f} GFLOP/s | {onednn:.0f} GFLOP/s | {onednn / mkl:.1f} |")
    print("\n| decoding, all products of a step | MKL | oneDNN, packed | ratio |\n|---|---|---|---|")
    weights = [torch.randn(outputs, inputs) for inputs, outputs in (*SHAPES[:3] * 6, SHAPES[3])]
    packed = [pack(w) for w in weights]
    with torch.inference_mode():
        for rows in (1, 4, 16):
            xs = {inputs: torch.randn(rows, inputs) for inputs, _ in SHAPES}
            mkl = median_seconds(lambda xs=xs: [F.linear(xs[w.shape[1]], w) for w in weights], REPEATS, WARMUPS)
            onednn = median_seconds(
                lambda xs=xs: [packed_product(xs[w.shape[1]], p) for w, p in zip(weights, packed, strict=True)],
                REPEATS,
                WARMUPS,
            )
            print(f"| {rows} rows | {1000 * mkl:.2f} ms | {1000 * onednn:.2f} ms | {mkl / onednn:.1f} |")


if __name__ == "__main__":
    main()
