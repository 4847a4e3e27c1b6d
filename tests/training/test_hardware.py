import subprocess
import sys

import pytest

from storygen.training.hardware import keep_freed_memory

FAULTS = """
import resource, torch
from storygen.training.hardware import keep_freed_memory
assert keep_freed_memory()
counts = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(64, 2**20, dtype=torch.uint8).fill_(1)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*counts)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc")
def test_freed_memory_is_used_again_without_the_kernel():
    """Each large tensor of a step would cost a page fault for each of its 4,096 bytes, again and again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    first, _, *rest = map(int, done.stdout.split())
    assert first > 1000
    assert max(rest) < first / 10
