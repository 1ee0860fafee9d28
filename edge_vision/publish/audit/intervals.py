"""Sets of whole numbers that mostly follow one another, kept as ranges: a million numbers weigh as much as two."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import msgspec

Range = tuple[int, int]
"""The first and the last number."""


class Intervals(msgspec.Struct):
    """Sorted ranges that neither overlap nor touch, each with its first number and its last."""

    starts: list[int] = []
    ends: list[int] = []

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "Intervals":
        """The set of all numbers in some ranges, in any order."""
        made = cls()
        for first, last in ranges:
            made.add_range(first, last)
        return made

    def add(self, number: int) -> bool:
        """Add a number; False when it was there already."""
        ends = self.ends
        if ends and number == ends[-1] + 1:
            ends[-1] = number
            return True
        place = bisect_left(ends, number)
        if place < len(ends) and self.starts[place] <= number:
            return False
        self.add_range(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Add every number from `first` to `last`."""
        if last < first:
            return
        low = bisect_left(self.ends, first - 1)
        high = bisect_right(self.starts, last + 1)
        if low < high:
            first, last = min(first, self.starts[low]), max(last, self.ends[high - 1])
        self.starts[low:high] = [first]
        self.ends[low:high] = [last]

    def touches(self, number: int) -> bool:
        """Whether the number, or one beside it, is there: to add it makes no further range."""
        place = bisect_left(self.ends, number - 1)
        return place < len(self.ends) and self.starts[place] <= number + 1

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self.ends, number)
        return place < len(self.ends) and self.starts[place] <= number

    def __iter__(self) -> Iterator[Range]:
        return zip(self.starts, self.ends, strict=True)

    @property
    def ranges(self) -> int:
        """How many ranges there are."""
        return len(self.starts)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(self.ends) - sum(self.starts) + len(self.starts)

    @property
    def first(self) -> int:
        """The lowest number; 0 when there is none."""
        return self.starts[0] if self.starts else 0

    @property
    def last(self) -> int:
        """The highest number; 0 when there is none."""
        return self.ends[-1] if self.ends else 0

    def holes(self, first: int, last: int) -> "Intervals":
        """The numbers from `first` to `last` that are not there."""
        found = Intervals()
        place = bisect_left(self.ends, first)
        for start, end in zip(self.starts[place:], self.ends[place:], strict=True):
            if start > last:
                break
            if start > first:
                found.starts.append(first)
                found.ends.append(start - 1)
            first = end + 1
        if first <= last:
            found.starts.append(first)
            found.ends.append(last)
        return found

    def without(self, other: "Intervals") -> "Intervals":
        """The numbers that are here and not there."""
        found = Intervals()
        for first, last in self:
            left = other.holes(first, last)
            found.starts += left.starts
            found.ends += left.ends
        return found
