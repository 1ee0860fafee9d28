"""How long to wait before trying again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter: `first_s`, then `factor` times more, at most `most_s`, each +-`jitter`.

    The jitter keeps fifty cameras that lost the same switch from knocking at the same moment.
    """

    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 1.0
    jitter: float = 0.2

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure in a row (from 1)."""
        exponent = min(failures - 1, 32)
        plain = min(self.first_s * self.factor**exponent, self.most_s)
        return plain * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - not a secret
