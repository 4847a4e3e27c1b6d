import platform
import subprocess
import sys

import pytest

HELD = """
import psutil, torch
from storygen.training.hardware import keep_freed_memory
keep_freed_memory()
before = psutil.Process().memory_info().rss
torch.empty(64, 2**20, dtype=torch.uint8).fill_(1)
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_a_large_tensor_leaves_its_memory_for_the_next():
    """Without it each large tensor of a training step costs a page fault for each of its 4,096 bytes."""
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60 * 2**20
