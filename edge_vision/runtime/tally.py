"""Counting what happens, and how long it takes, cheaply enough to do for every frame."""

import threading
from collections import Counter

import numpy as np


class Tally:
    """Named counters that any thread may add to and read."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, amount: int = 1) -> None:
        """Count `amount` more of `name`."""
        with self._lock:
            self._counts[name] += amount

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """All counters as they are now."""
        with self._lock:
            return dict(self._counts)


class Window:
    """The last `size` measurements, for percentiles and rates; one writer, any readers."""

    def __init__(self, size: int = 1024) -> None:
        self._values = np.zeros(size)
        self._count = 0

    def add(self, value: float) -> None:
        """Note one measurement."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def percentile(self, percent: float) -> float:
        """The value below which `percent` of the window lies; 0 when it is empty."""
        filled = self._values[: min(self._count, len(self._values))]
        return float(np.percentile(filled, percent)) if len(filled) else 0.0

    def rate(self) -> float:
        """For a window of times in seconds: how many per second, from the oldest to the newest."""
        filled = self._values[: min(self._count, len(self._values))]
        span = float(filled.max() - filled.min()) if len(filled) > 1 else 0.0
        return (len(filled) - 1) / span if span > 0 else 0.0
