"""How often somebody may do something."""

import threading
import time
from collections import OrderedDict, deque

from storygen.errors import StorygenError

KEYS = 10_000
"""Who has been quiet longest is forgotten beyond this number."""


class Limit:
    """At most `count` of something in any minute for each key."""

    def __init__(self, count: int, what: str) -> None:
        self.count, self.what = count, what
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Counts one; StorygenError if it is one too many."""
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(key, deque())
            self._times.move_to_end(key)
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= self.count:
                wait = times[0] + 60 - now
                raise StorygenError(f"that is more than {self.count} {self.what} a minute; go on in {wait:.0f} seconds")
            times.append(now)
            while len(self._times) > KEYS:
                self._times.popitem(last=False)
