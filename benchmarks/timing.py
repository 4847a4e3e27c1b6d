"""What the speed benchmarks share: the median time of a run, and the machine's matrix-product rate."""

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(run: Callable[[], object], repeats: int, warmups: int = 1) -> float:
    """Median time of a run, after some that do not count."""
    times = []
    for _ in range(warmups + repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times[warmups:])


def matmul_rate(repeats: int, size: int = 2048) -> float:
    """Floating-point operations a second of `torch.matmul` in float32."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / median_seconds(lambda: a @ b, repeats, warmups=2)
