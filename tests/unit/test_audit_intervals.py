"""Sets of numbers kept as ranges behave as sets do."""

import itertools
import random

from edge_vision.publish.audit.intervals import Intervals


def numbers(ranges: Intervals) -> set[int]:
    """The same as a set."""
    return {number for first, last in ranges for number in range(first, last + 1)}


def test_they_behave_as_sets_do() -> None:
    """A few thousand random steps beside a set: members, size, holes, differences, and ranges that never touch."""
    dice = random.Random(5)
    for most in (8, 30, 200):
        made, other, plain, plain_other = Intervals([], []), Intervals([], []), set[int](), set[int]()
        for _ in range(400):
            number = dice.randint(1, most)
            assert made.touches(number) == bool({number - 1, number, number + 1} & plain)
            assert made.add(number) == (number not in plain)
            plain.add(number)
            if dice.random() < 0.1:
                first = dice.randint(1, most)
                last = first + dice.randint(-1, 5)
                other.add_range(first, last)
                plain_other |= set(range(first, last + 1))
            if dice.random() < 0.05:
                made, plain = Intervals([], []), set()
            first, last = dice.randint(1, most), dice.randint(1, most)
            assert numbers(made) == plain
            assert made.size == len(plain)
            assert made.first == min(plain, default=0)
            assert made.last == max(plain, default=0)
            assert (number + 1 in made) == (number + 1 in plain)
            assert numbers(made.holes(first, last)) == set(range(first, last + 1)) - plain
            assert numbers(made.without(other)) == plain - plain_other
            ranges = list(made)
            assert all(low[1] + 1 < high[0] for low, high in itertools.pairwise(ranges))


def test_a_million_numbers_in_order_are_one_range() -> None:
    """What arrives in order weighs nothing."""
    made = Intervals([], [])
    assert all(made.add(number) for number in range(1, 100_001))
    assert list(made) == [(1, 100_000)]
    assert Intervals.of([(5, 6), (1, 2), (3, 4)]) == Intervals([1], [6])
