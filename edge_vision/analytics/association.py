"""Which object is which track: pairs that may belong together, and the assignment of greatest gain among them.

Pairs are kept as columns (track, object, what speaks for it): of two hundred tracks and objects almost none are near
each other, and what is near is all that has to be looked at. Boxes are columns too, (4, n) left, top, right, bottom:
NumPy passes over them twice as fast as over rows of four.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]

_AT_ONCE: Final = 1 << 19
"""So many pairs are looked at in one go; more go in portions, so that thousands of objects do not fill the memory."""
_MOST_EXACT: Final = 500
"""Where more tracks or objects than this all compete with each other, the greatest gains are taken first instead."""
_ROUNDS: Final = 3
_TIE: Final = 1e-12
"""What parts pairs of the same gain, so that one of them is the better one."""


class Assigner:
    """Solves assignments: what is plain by looking, the rest with `lap` (Jonker and Volgenant, 1987)."""

    def __init__(self) -> None:
        import lap  # ten milliseconds, for those who track

        self._lap: Any = lap

    def __call__(self, rows: Indices, columns: Indices, gain: Floats) -> Indices:
        """Which of the pairs to take, each row and column at most once, so that the sum of their gains is greatest.

        `gain` (p,) is more than 0. A pair that gains more than the next best of its row and the next best of its
        column together is in every best solution: who takes those two instead gains less. Of a frame of video that
        leaves little to solve.
        """
        if len(rows) < 2:  # noqa: PLR2004 - nothing to choose between
            return np.arange(len(rows))
        gain = gain - _TIE * np.arange(len(gain))
        left, taken = np.arange(len(rows)), []
        height, width = int(rows.max()) + 1, int(columns.max()) + 1
        for _ in range(_ROUNDS):
            row, column = rows[left], columns[left]
            plain = _plain(row, column, gain[left], (height, width))
            taken.append(left[plain])
            if plain.all():
                return np.concatenate(taken)
            row_gone, column_gone = np.zeros(height, bool), np.zeros(width, bool)
            row_gone[row[plain]] = column_gone[column[plain]] = True
            left = left[~(row_gone[row] | column_gone[column])]
            if not len(left):
                return np.concatenate(taken)
            if not plain.any():
                break
        taken.append(left[self._solve(rows[left], columns[left], gain[left])])
        return np.concatenate(taken)

    def _solve(self, rows: Indices, columns: Indices, gain: Floats) -> Indices:
        """The same for what is not plain."""
        (_, row), (_, column) = (np.unique(places, return_inverse=True) for places in (rows, columns))
        shape = (int(row.max()) + 1, int(column.max()) + 1)
        if max(shape) > _MOST_EXACT:
            return _greatest_first(row, column, gain)
        limit = float(gain.max())
        cost = np.full(shape, limit)  # as dear as to leave both out
        cost[row, column] = limit - gain
        _, column_of, _ = self._lap.lapjv(cost, extend_cost=True, cost_limit=limit)
        return np.flatnonzero(column_of[row] == column)


def _plain(row: Indices, column: Indices, gain: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pairs gain more than the best others of their row and of their column together."""
    of_row, of_column = np.zeros(shape[0]), np.zeros(shape[1])
    np.maximum.at(of_row, row, gain)
    np.maximum.at(of_column, column, gain)
    best = (gain == of_row[row]) & (gain == of_column[column])
    others = np.where(best, 0.0, gain)
    of_row[:], of_column[:] = 0.0, 0.0
    np.maximum.at(of_row, row, others)
    np.maximum.at(of_column, column, others)
    return np.asarray(best & (gain > of_row[row] + of_column[column]))


def _greatest_first(rows: Indices, columns: Indices, gain: Floats) -> Indices:
    """Take the pair with the greatest gain, then the greatest of those left, and so on."""
    row_free, column_free = [True] * (int(rows.max()) + 1), [True] * (int(columns.max()) + 1)
    order = np.argsort(-gain, kind="stable")
    taken: list[int] = []
    for pair, row, column in zip(order.tolist(), rows[order].tolist(), columns[order].tolist(), strict=True):
        if row_free[row] and column_free[column]:
            row_free[row] = column_free[column] = False
            taken.append(pair)
    return np.array(taken, np.intp)


def near(one: Floats, other: Floats, least: float) -> tuple[Indices, Indices, Floats]:
    """Pairs of boxes (4, n) and (4, m) that overlap by `least` or more: places in both, and by how much.

    The overlap is intersection over union, and more than 0.
    """
    first, second = touching(one, other)
    a, b = one[:, first], other[:, second]
    common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = common[0] * common[1]
    overlap = shared / (areas(a) + areas(b) - shared)
    enough = overlap >= least
    return first[enough], second[enough], overlap[enough]


def touching(one: Floats, other: Floats) -> tuple[Indices, Indices]:
    """Pairs of boxes that have some area in common."""
    count = other.shape[1]
    step = max(1, _AT_ONCE // max(count, 1))
    left, top, right, bottom = other
    found = []
    for start in range(0, one.shape[1], step):
        part = one[:, start : start + step, None]
        touch = part[0] < right
        touch &= part[2] > left
        touch &= part[1] < bottom
        touch &= part[3] > top
        found.append(np.flatnonzero(touch) + start * count)
    pairs = np.concatenate(found) if found else np.empty(0, np.intp)
    return pairs // max(count, 1), pairs % max(count, 1)


def areas(boxes: Floats) -> Floats:
    """Of boxes (4, n)."""
    return np.asarray((boxes[2] - boxes[0]) * (boxes[3] - boxes[1]))
