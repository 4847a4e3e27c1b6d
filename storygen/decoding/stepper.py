"""The one thread that steps all engines of the process, turn by turn.

One for all, because a second thread that computes brings its own pool of OpenMP workers, and once those are more than
the cores they sleep after each operation: a decoding step on two cores then takes twice as long. For the same reason
PyTorch should not compute elsewhere in a process that serves; `single_threaded` keeps it from starting a pool.
"""

import atexit
import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")
IDLE_SECONDS = 5.0
"""The thread ends when there was nothing to do for so long; the next request starts another."""
SECONDS_BETWEEN_PROBES = 1.0
"""How often it is looked whether the cores are free."""


class Steps(Protocol):
    """Work that is done step by step."""

    def has_work(self) -> bool:
        """Whether there is anything to do; asked with `Stepper.changed` held."""

    def step(self) -> None:
        """Does a little of it."""


class _Call:
    """A function that is work of one step."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function, self._future = function, Future()
        self.result = self._future.result

    def has_work(self) -> bool:
        return not self._future.done()

    def step(self) -> None:
        try:
            self._future.set_result(self._function())
        except Exception as error:
            self._future.set_exception(error)


class Stepper:
    """Gives each that has work one step a turn."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        """Guards what the thread shares with those who ask for work."""
        self._awake: list[Steps] = []
        self._thread: threading.Thread | None = None
        self._must_end = False
        self._all_threads = torch.get_num_threads()
        self._probed_at = float("-inf")

    def wake(self, work: Steps) -> None:
        """Has it stepped until it has no more work. Call with `changed` held."""
        if self._thread is None or not self._thread.is_alive():  # in a forked process it is not alive
            thread = threading.Thread(target=self._run, name="storygen-stepper", daemon=True)
            thread.start()
            self._thread = thread
            atexit.register(self._end)  # a thread inside PyTorch must end before the interpreter does
        if work not in self._awake:
            self._awake.append(work)
        self.changed.notify_all()

    def run(self, function: Callable[[], T]) -> T:
        """Has the thread call a function once, in the caller's context, and waits for what it gives."""
        call = _Call(functools.partial(contextvars.copy_context().run, function))
        with self.changed:
            self.wake(call)
            self.changed.wait_for(lambda: not call.has_work())
        return call.result()

    def _run(self) -> None:
        with torch.inference_mode():
            while turn := self._next_turn():
                if time.monotonic() - self._probed_at > SECONDS_BETWEEN_PROBES:
                    torch.set_num_threads(self._all_threads if has_free_cores(self._all_threads) else 1)
                    self._probed_at = time.monotonic()
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


def has_free_cores(threads: int) -> bool:
    """Whether the calling thread's operations run well on so many threads now; leaves that number set.

    Where another process keeps a core busy, each operation waits for a thread that is not running: a decoding step
    with two threads can then take a hundred times as long as with one. Ten small operations tell, in 0.2 ms.
    """
    torch.set_num_threads(threads)
    numbers = torch.zeros(1 << 17)  # large enough to be shared among threads
    numbers.add_(1)
    started = time.perf_counter()
    for _ in range(10):
        numbers.add_(1)
    return time.perf_counter() - started < 0.002


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
