"""Measured of the hardware: times, matrix-product rate, memory; and how memory is asked for."""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable

import psutil
import torch

from storygen.models.linear import product, runs_on_onednn

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Has the process keep what it frees, if its memory is glibc's, which gives each large tensor back to the system.

    A training step asks for the same gigabyte again and again, and the kernel hands it out page by page, zeroed. On the
    CPU that was 10 to 20 % of a step's time (benchmarks/train.py); the price is a peak up to half as high again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def matmul_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second of a product of large matrices, by the kernel that the linear layers have
    (storygen/models/linear.py): the median of nine.
    """
    size = 8192 if device.type == "cuda" else 1024
    own = torch.Generator(device).manual_seed(0)  # drawn from the common one, they would change the run that follows
    a, b = (torch.randn(size, size, generator=own, device=device, dtype=dtype) for _ in range(2))
    multiply = product if runs_on_onednn(b) else torch.matmul
    return 2 * size**3 / median_seconds(lambda: multiply(a, b), repeats=9, warmups=2, device=device)


def median_seconds(
    run: Callable[[], object], repeats: int, warmups: int = 1, device: torch.device | None = None
) -> float:
    """Median time of a run, after some that do not count; a GPU is waited for."""
    times = []
    for _ in range(warmups + repeats):
        started = time.perf_counter()
        run()
        if device is not None and device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[warmups:])


def peak_memory(device: torch.device) -> int:
    """The most bytes this process has held so far: of the GPU's memory if it has one, else of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory(device: torch.device) -> int:
    """Bytes that a run could still have."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
