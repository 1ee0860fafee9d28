"""Percentiles of latencies over any number of messages, in little memory."""

import math
from typing import Final

import msgspec

_STEP: Final = math.log(1.04)
"""Buckets grow by 4 %: a percentile is within 2 % of the true one."""
_LEAST_MS: Final = 0.01
_MOST_MS: Final = 1e10
"""Four months: what is beyond counts as this."""
_LOWEST: Final = math.floor(math.log(_LEAST_MS) / _STEP) - 1
PERCENTS: Final = (50, 95, 99)


class Latencies(msgspec.Struct):
    """A histogram of milliseconds. Whatever is negative, of clocks that disagree, is counted apart as well."""

    buckets: dict[int, int] = {}
    negative: int = 0

    def add(self, latency_ms: float) -> None:
        """Count one."""
        if latency_ms < _LEAST_MS:
            self.negative += latency_ms < 0
            place = _LOWEST
        else:
            place = int(math.log(min(latency_ms, _MOST_MS)) // _STEP)
        self.buckets[place] = self.buckets.get(place, 0) + 1

    def merge(self, other: "Latencies") -> None:
        """Count what another one counted."""
        self.negative += other.negative
        for place, count in other.buckets.items():
            self.buckets[place] = self.buckets.get(place, 0) + count

    def facts(self) -> dict[str, float]:
        """The percentiles in milliseconds, and how many were negative if any were; empty when nothing was counted."""
        if not self.buckets:
            return {}
        total = sum(self.buckets.values())
        found: dict[str, float] = {}
        places = sorted(self.buckets.items())
        for percent in PERCENTS:
            rank, seen = math.ceil(total * percent / 100), 0
            for place, count in places:
                seen += count
                if seen >= rank:
                    found[f"p{percent}"] = _middle_ms(place)
                    break
        return {**found, "negative": self.negative} if self.negative else found


def _middle_ms(place: int) -> float:
    return 0.0 if place == _LOWEST else round(math.exp((place + 0.5) * _STEP), 3)
