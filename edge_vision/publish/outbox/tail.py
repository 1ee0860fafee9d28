"""What is not on disk yet: in memory, bounded."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from edge_vision.publish.outbox.rows import Row

_PART: Final = 1_000
"""When it is full, a thousandth goes at once: making room costs something for each message that may not go."""


class Tail:
    """The newest messages, in the order of their numbers; `weight` is in bytes. Used under the outbox's lock."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.weight = 0
        self._rows: deque[Row] = deque()
        self._writing = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def put(self, row: Row) -> None:
        """Take one more; see `make_room`."""
        self._rows.append(row)
        self.weight += row.message.weight

    def after(self, number: int, kinds: Sequence[str], most: int) -> tuple[list[Row], int]:
        """Messages after a number, and the number up to which all were looked at."""
        rows: list[Row] = []
        for row in islice(self._rows, self._place_after(number), None):
            number = row.n
            if row.message.kind in kinds:
                rows.append(row)
                if len(rows) >= most:
                    break
        return rows, number

    def _place_after(self, number: int) -> int:
        rows = self._rows
        if not rows or number < rows[0].n:
            return 0
        guess = number + 1 - rows[0].n
        if guess < len(rows) and rows[guess].n == number + 1:
            return guess
        return bisect_right(rows, number, key=lambda row: row.n)

    def count(self, after: int, kinds: Sequence[str]) -> int:
        """How many messages of these kinds there are after a number."""
        return sum(row.n > after and row.message.kind in kinds for row in self._rows)

    def begin_write(self, most: int, most_bytes: int) -> list[Row]:
        """The oldest messages, to be written; they stay here until `written` or `not_written`."""
        rows: list[Row] = []
        for row in islice(self._rows, most):
            rows.append(row)
            most_bytes -= row.message.weight
            if most_bytes <= 0:
                break
        self._writing = rows[-1].n if rows else 0
        return rows

    def written(self) -> None:
        """What was to be written is on disk."""
        self.leave_out(lambda row: row.n <= self._writing, len(self._rows))
        self._writing = 0

    def not_written(self) -> None:
        """What was to be written is not on disk."""
        self._writing = 0

    def make_room(self, weight: int, held: Sequence[tuple[int, int]]) -> list[Row]:
        """Drop the oldest until so many bytes fit; but not those being written, nor those from a number to another."""
        excess = self.weight + weight - self.most_bytes
        if excess <= 0:
            return []
        excess = max(excess, self.most_bytes // _PART)
        dropped: list[Row] = []
        kept: list[Row] = []
        for _ in range(len(self._rows)):
            if excess <= 0:
                break
            row = self._rows.popleft()
            if row.n <= self._writing or any(first <= row.n <= last for first, last in held):
                kept.append(row)
            else:
                dropped.append(row)
                excess -= row.message.weight
                self.weight -= row.message.weight
        self._rows.extendleft(reversed(kept))
        return dropped

    def leave_out(self, unneeded: Callable[[Row], bool], most: int) -> None:
        """Let the first go as long as they are not needed."""
        for _ in range(most):
            if not self._rows or not unneeded(self._rows[0]):
                return
            self.weight -= self._rows.popleft().message.weight

    def grow_older(self, seconds: float) -> None:
        """The outbox has lived longer than was known when these came."""
        self._rows = deque(row._replace(lived_s=row.lived_s + seconds) for row in self._rows)
