"""Which object is which track: the assignment of least total cost, with a limit on each pair."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


class Assigner:
    """Solves assignments with `lap` (Jonker and Volgenant, 1987); the obvious ones without it."""

    def __init__(self) -> None:
        import lap  # ten milliseconds, for those who track

        self._lap: Any = lap

    def __call__(self, cost: NDArray[np.float64], limit: float) -> _Pairs:
        """Rows and columns of `cost` (n, m) that belong together, each at most once, none dearer than `limit`."""
        possible = cost <= limit
        rivals_of_row, rivals_of_column = possible.sum(axis=1), possible.sum(axis=0)
        if rivals_of_row.max(initial=0) <= 1 and rivals_of_column.max(initial=0) <= 1:  # nobody to choose between
            rows, columns = np.nonzero(possible)
            return rows, columns
        rows, columns = np.flatnonzero(rivals_of_row), np.flatnonzero(rivals_of_column)
        _, column_of, _ = self._lap.lapjv(cost[np.ix_(rows, columns)], extend_cost=True, cost_limit=limit)
        taken = column_of >= 0
        return rows[taken], columns[column_of[taken]]


def overlaps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m): intersection over union of boxes (n, 4) and (m, 4), xyxy; 0 where they do not touch."""
    common = np.ones((len(one), len(other)))
    for axis in (0, 1):  # two-dimensional passes: a third axis of length two would cost more than it says
        low = np.maximum(one[:, None, axis], other[None, :, axis])
        high = np.minimum(one[:, None, axis + 2], other[None, :, axis + 2])
        common *= np.maximum(high - low, 0.0)
    areas = _areas(one)[:, None] + _areas(other)[None, :]
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
