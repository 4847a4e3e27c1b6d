"""Matches written ahead, one for each suggested prompt, while the models are idle: so a rating costs no wait."""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from storygen.arena.match import Match
from storygen.errors import StorygenError

SHOWN = 3
"""Raters who see a match before another is written: where several have seen it, their agreement can be measured."""
AHEAD = 2
"""Matches that a rater has not seen are kept ready, for one who rates them all."""
SECONDS_BETWEEN_LOOKS = 0.5
LOG = logging.getLogger(__name__)


@dataclass
class Ready:
    """A match that waits, and who has seen it."""

    match: Match
    seen: set[str] = field(default_factory=set)


class Pool:
    """Keeps a match for each suggestion. `write` makes one for a prompt, `is_idle` tells whether now is a good time."""

    def __init__(self, suggestions: Sequence[str], write: Callable[[str], Match], is_idle: Callable[[], bool]) -> None:
        self.suggestions, self._write, self._is_idle = list(suggestions), write, is_idle
        self._ready: dict[str, Ready] = {}
        self._begun: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arena pool", daemon=True)

    def start(self) -> None:
        """Begins to fill."""
        self._thread.start()

    def close(self) -> None:
        """Stops filling, once a match that is being written is done."""
        self._closed.set()

    def take(self, rater: str, rng: random.Random) -> Match | None:
        """A match that the rater has not seen, sides by coin flip; None if there is none."""
        with self._lock:
            fresh = [name for name, ready in self._ready.items() if rater not in ready.seen]
            if not fresh:
                return None
            name = rng.choice(fresh)
            ready = self._ready[name]
            ready.seen.add(rater)
            if len(ready.seen) >= SHOWN or len(fresh) <= AHEAD:
                del self._ready[name]
        return ready.match if rng.random() < 0.5 else ready.match.swapped()

    def fill(self) -> bool:
        """Writes one match that is missing; whether there was one and it came out. Several threads may call it."""
        with self._lock:
            missing = next((n for n in self.suggestions if n not in self._ready and n not in self._begun), None)
            if missing is None:
                return False
            self._begun.add(missing)
        try:
            match = self._write(missing)
            with self._lock:
                self._ready[missing] = Ready(match)
        except StorygenError:
            with self._lock:
                self.suggestions.append(self.suggestions.pop(self.suggestions.index(missing)))  # others come first
            return False  # the next look tries again
        finally:
            with self._lock:
                self._begun.remove(missing)
        return True

    def _run(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            try:
                if self._is_idle():
                    self.fill()
            except Exception:  # whatever it was, raters should not have to wait from now on
                LOG.exception("a match could not be written ahead")
