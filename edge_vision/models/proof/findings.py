"""How far apart is what two runtimes found out about the same object: its mask, text, embedding and attributes."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections

_MOST_CELLS: Final = 1024
"""Masks are compared on a grid of at most so many cells along a side."""


class Findings:
    """Sums up the differences of pairs; what the reference does not know is not compared."""

    def __init__(self) -> None:
        self.embedding_distance = 0.0
        self._edits = 0
        self._characters = 0
        self._attributes: dict[str, list[float]] = {}

    def add(self, expected: Detections, one: int, actual: Detections, other: int) -> None:
        """Row `one` of the reference and row `other` of the runtime on trial are the same object."""
        if expected.text is not None:
            known = str(expected.text[one])
            read = "" if actual.text is None else str(actual.text[other])
            self._edits += edit_distance(known, read)
            self._characters += max(len(known), len(read))
        if expected.embedding is not None:
            distance = _cosine_distance(expected.embedding[one], actual.embedding, other)
            self.embedding_distance = max(self.embedding_distance, distance)
        for name, column in expected.attributes.items():
            difference = _difference(column[one], actual.attributes.get(name), other)
            self._attributes.setdefault(name, []).append(difference)

    @property
    def text_diff(self) -> float:
        """Insertions, deletions and replacements of characters, as part of the longer of each two texts."""
        return self._edits / max(1, self._characters)

    @property
    def attribute_diff(self) -> float:
        """Of the attribute that differs most the mean difference."""
        return max((float(np.mean(values)) for values in self._attributes.values()), default=0.0)


def edit_distance(one: str, other: str) -> int:
    """How many characters to insert, delete or replace: Levenshtein, by the rows of Wagner and Fischer (1974)."""
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        above, row = row, [place]
        for column, candidate in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (character != candidate)))
    return row[-1]


def _cosine_distance(known: NDArray[np.float32], column: NDArray[np.float32] | None, row: int) -> float:
    """From 0 to 2; the greatest for one that is not there or has another length."""
    if column is None or column[row].shape != known.shape:
        return 2.0
    distance = 1.0 - float(known.astype(np.float64) @ column[row].astype(np.float64))
    return distance if np.isfinite(distance) else 2.0


def _difference(known: Any, column: NDArray[Any] | None, row: int) -> float:
    """Of texts 0 or 1; of numbers their distance, as part of the greater where that is more than 1."""
    if column is None:
        return 1.0
    found = column[row]
    if isinstance(known, str):
        return float(known != found)
    one, other = float(known), float(found)
    if np.isnan(one) or np.isnan(other):
        return float(np.isnan(one) != np.isnan(other))
    return abs(one - other) / max(1.0, abs(one), abs(other))


def mask_overlap(expected: Detections, one: int, actual: Detections, other: int) -> float:
    """Intersection over union of two masks, each laid over its own box; 0 where one side has none."""
    if expected.mask is None or actual.mask is None:
        return 0.0
    boxes = np.stack([expected.xyxy[one], actual.xyxy[other]]).astype(np.float64)
    grids: list[NDArray[np.bool_]] = [expected.mask[one], actual.mask[other]]
    if not np.isfinite(boxes).all() or min(grids[0].size, grids[1].size) == 0:
        return 0.0
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    finest = min(float((side / grid.shape[::-1]).min()) for side, grid in zip(sides, grids, strict=True))
    count = np.clip(np.ceil((high - low) / finest - 1e-6), 1, _MOST_CELLS).astype(int)
    points = [low[axis] + (np.arange(count[axis]) + 0.5) * (high - low)[axis] / count[axis] for axis in (0, 1)]
    first, second = (_sampled(grid, box, points[0], points[1]) for grid, box in zip(grids, boxes, strict=True))
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def _sampled(
    grid: NDArray[np.bool_], box: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The mask at points x (n,) and y (m,) of the source: (m, n), false outside of its box."""
    rows, columns = grid.shape
    column = np.floor((x - box[0]) / max(box[2] - box[0], 1e-6) * columns).astype(int)
    row = np.floor((y - box[1]) / max(box[3] - box[1], 1e-6) * rows).astype(int)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))[None, :]
    sampled = grid[np.clip(row, 0, rows - 1)[:, None], np.clip(column, 0, columns - 1)[None, :]]
    return np.asarray(sampled & inside)
