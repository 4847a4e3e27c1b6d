"""Ctrl-C and SIGTERM as a wish to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interrupt:
    """Whether a signal has asked to stop. A second one ends the process at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Catches the signals inside the block."""
        if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
            yield
            return
        before: dict[int, Any] = {}

        def stop(number: int, _: Any) -> None:
            self.asked = True
            signal.signal(number, before[number])

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
