"""`python -m MODULE ...` in a process of its own, forked from one that has already imported PyTorch and accelerate.

Importing them takes each new interpreter seconds of processor time. What needs a fresh interpreter starts it by
`subprocess`: what is about starting or ending one, or sets a variable that a library reads when it is imported.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

import torch

from storygen.app_process import free_port

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["storygen.training.trainer", "matplotlib.pyplot"])


class Process:
    """A running `python -m MODULE ARGUMENTS`; MODULE may be a script's path, too. What it says goes to `folder`.

    `prepare`, which pickle must know, is called in it first.
    """

    def __init__(self, folder, module, *arguments, prepare=None, **environment):
        self.output, self.errors = Path(folder) / "output.txt", Path(folder) / "errors.txt"
        for file in (self.output, self.errors):
            file.write_bytes(b"")
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", **environment}  # no GPU outlives a fork
        threads = torch.get_num_threads()  # kernels round otherwise when they divide otherwise
        settings = (str(module), arguments, environment, self.output, self.errors, threads, prepare)
        self._process = FORKS.Process(target=_run, args=settings, daemon=True)  # it ends with the tests at the latest
        self._process.start()

    def is_running(self):
        return self._process.is_alive()

    def has_failed(self):
        return self._process.exitcode not in (None, 0)

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()
        self._process.join()

    def wait(self, seconds=100):
        """Its exit status, once it has ended."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"still running after {seconds} s; it said: {self.errors.read_text()[-2000:]}")
        return self._process.exitcode

    def run(self, seconds=100):
        """Waits for its end: exit status, output, errors."""
        return self.wait(seconds), self.output.read_text(), self.errors.read_text()


def start_ranks(folder, count, module, *arguments, **environment):
    """So many processes that train together by gloo on the CPU, as torchrun starts them."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **environment}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    ranks = []
    for rank in range(count):
        own = Path(folder) / f"rank-{rank}"
        own.mkdir(exist_ok=True)
        ranks.append(Process(own, module, *arguments, RANK=str(rank), LOCAL_RANK=str(rank), **shared))
    return ranks


def _run(module, arguments, environment, output, errors, threads, prepare):
    for stream, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY), stream)
    os.environ.clear()  # of the test that started the first process
    os.environ.update(environment)
    torch.set_num_threads(threads)
    if prepare:
        prepare()
    sys.argv = [module, *arguments]
    if module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
