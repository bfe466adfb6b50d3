"""Wall time of each kind of work, where several go on at once."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

ALL = "all"
"""The time in which work of any kind was running. The rest of a build's time is pibuild's own."""
KINDS = ("sources", "images", "containers")


class Stopwatch:
    """The time in which at least one piece of work of a kind was running, by kind, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing; of the clock's seconds only differences count."""
        self._clock = clock
        self._lock = threading.Lock()
        self._spent_s = dict.fromkeys((*KINDS, ALL), 0.0)
        self._running = dict.fromkeys((*KINDS, ALL), 0)
        self._began_s: dict[str, float] = {}

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Measure the time until the end of the block as that of a kind."""
        self._count(kind, 1)
        try:
            yield
        finally:
            self._count(kind, -1)

    @property
    def spent_s(self) -> dict[str, float]:
        """The times that were measured so far, by kind and in total."""
        with self._lock:
            return {name: round(value, 2) for name, value in self._spent_s.items()}

    def since(self, before_s: Mapping[str, float]) -> dict[str, float]:
        """Return what ended after `spent_s` had some values."""
        return {name: round(value - before_s[name], 2) for name, value in self.spent_s.items()}

    def _count(self, kind: str, change: int) -> None:
        with self._lock:
            now_s = self._clock()
            for name in (kind, ALL):
                if change > 0 and not self._running[name]:
                    self._began_s[name] = now_s
                self._running[name] = max(0, self._running[name] + change)
                if not self._running[name] and name in self._began_s:
                    self._spent_s[name] += now_s - self._began_s.pop(name)
