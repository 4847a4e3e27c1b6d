"""The one thread that steps all engines of the process, turn by turn.

One for all, because a second thread that computes brings its own pool of OpenMP workers, and once those are more than
the cores they sleep after each operation: a decoding step on two cores then takes twice as long. For the same reason
PyTorch should not compute elsewhere in a process that serves; `single_threaded` keeps it from starting a pool.
"""

import atexit
import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

import torch

IDLE_SECONDS = 5.0
"""The thread ends when there was nothing to do for so long; the next request starts another."""


class Steps(Protocol):
    """Work that is done step by step."""

    def has_work(self) -> bool:
        """Whether there is anything to do; asked with `Stepper.changed` held."""

    def step(self) -> None:
        """Does a little of it."""


class Stepper:
    """Gives each that has work one step a turn."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        """Guards what the thread shares with those who ask for work."""
        self._awake: list[Steps] = []
        self._thread: threading.Thread | None = None
        self._must_end = False

    def wake(self, work: Steps) -> None:
        """Has it stepped until it has no more work. Call with `changed` held."""
        if work not in self._awake:
            self._awake.append(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="storygen-stepper", daemon=True)
            self._thread.start()
            atexit.register(self._end)  # a thread inside PyTorch must end before the interpreter does
        self.changed.notify_all()

    def _run(self) -> None:
        with torch.inference_mode():
            while turn := self._next_turn():
                for work in turn:
                    work.step()

    def _next_turn(self) -> list[Steps]:
        """All that have work, waiting for some; empty when the thread should end."""
        with self.changed:
            awake = [work for work in self._awake if work.has_work()]
            if len(awake) < len(self._awake):
                self._awake = awake
                self.changed.notify_all()  # someone may wait for its end
            if not (self._awake or self._must_end):
                self.changed.wait(IDLE_SECONDS)
            if self._must_end or not self._awake:
                self._thread = None
                atexit.unregister(self._end)
                return []
            return list(self._awake)

    def _end(self) -> None:
        with self.changed:
            self._must_end, thread = True, self._thread
            self.changed.notify_all()
        if thread is not None:
            thread.join()


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Has PyTorch compute in the calling thread alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


STEPPER = Stepper()
