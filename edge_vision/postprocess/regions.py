"""Finds connected regions in a map over the picture, and what each is: box, mask, area."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections, masks
from edge_vision.core.geometry import Letterbox
from edge_vision.core.plugin import require
from edge_vision.postprocess.format import Thresholds


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a map (rows, columns) over the network's input whose centers show the picture, not its rim.

    `inside` cuts them out of the map; `offset` is the first of them (x, y), `cell` the size of one in input pixels.
    """

    letterbox: Letterbox
    inside: tuple[slice, slice]
    offset: tuple[int, int]
    cell: tuple[float, float]
    count: int

    @classmethod
    def over(cls, shape: tuple[int, int], letterbox: Letterbox) -> "Grid":
        """The grid of a map of this shape, laid over the whole input."""
        cell = letterbox.model_wh[0] / shape[1], letterbox.model_wh[1] / shape[0]
        columns = _covered(shape[1], cell[0], letterbox.pad_left, letterbox.resized_wh[0])
        rows = _covered(shape[0], cell[1], letterbox.pad_top, letterbox.resized_wh[1])
        count = (columns.stop - columns.start) * (rows.stop - rows.start)
        return cls(letterbox, (rows, columns), (columns.start, rows.start), cell, count)

    def to_source(self, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Boxes (n, 4) in cells of the part that shows the picture as boxes in source pixels, cut at its edge.

        A cell at the edge may reach beyond it by less than its half: its mask is laid over what is left.
        """
        boxes = self.letterbox.to_source((cells + np.tile(self.offset, 2)) * np.tile(self.cell, 2))
        width, height = self.letterbox.source_wh
        return np.clip(boxes, 0.0, np.array([width, height, width, height], np.float32))


def _covered(count: int, cell: float, start: int, length: int) -> slice:
    """The cells along one side whose centers lie on the picture; else the one that has the picture's middle."""
    first, end = round(start / cell), min(round((start + length) / cell), count)
    if first >= end:  # the picture is thinner than a cell
        first = min(int((start + length / 2) / cell), count - 1)
    return slice(first, max(end, first + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What belongs to a class: `member` bool (rows, columns), and how certainly, `score` float32 of that shape."""

    class_id: int
    member: NDArray[np.bool_]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Numbered:
    """The regions of a layer: boxes (n, 4) and areas (n,) in cells, scores (n,), and a map of their numbers from 1.

    The map begins at `offset` (x, y), and so do the boxes.
    """

    class_id: int
    boxes: NDArray[np.int64]
    cells: NDArray[np.int64]
    score: NDArray[np.float32]
    numbers: NDArray[np.integer]
    offset: NDArray[np.int64]


class Regions:
    """Makes detections of layers: a row for each connected region, or for each layer.

    Two cells touch when they share a side or a corner. `confidence` is the mean score over the cells, or the greatest.
    """

    def __init__(
        self, thresholds: Thresholds, min_cells: int, confidence: Literal["mean", "greatest"], *, connected: bool
    ) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._thresholds = thresholds
        self._min_cells = min_cells
        self._confidence = confidence
        self._connected = connected

    def __call__(self, layers: Iterable[Layer], grid: Grid) -> Detections:
        """Box, class, mask, and the attributes `coverage` (part of the picture) and `area_px`; most certain first."""
        found = [self._numbered(layer) for layer in layers if layer.member.any()]
        if not found:
            return Detections.empty()
        score = np.concatenate([one.score for one in found])
        cells = np.concatenate([one.cells for one in found])
        owner = np.repeat(np.arange(len(found)), [len(one.cells) for one in found])
        number = np.concatenate([np.arange(1, len(one.cells) + 1) for one in found])
        kept = np.argsort(-score, kind="stable")
        kept = kept[(cells[kept] >= self._min_cells) & (score[kept] >= np.float32(self._thresholds.confidence))]
        kept = kept[: self._thresholds.max_detections]
        if len(kept) == 0:
            return Detections.empty()
        boxes = np.concatenate([one.boxes for one in found])[kept]
        grids = [
            found[of].numbers[top:bottom, left:right] == at
            for of, at, (left, top, right, bottom) in zip(
                owner[kept].tolist(), number[kept].tolist(), boxes.tolist(), strict=True
            )
        ]
        boxes += np.tile(np.stack([one.offset for one in found])[owner[kept]], 2)
        coverage = (cells[kept] / grid.count).astype(np.float32)
        area = coverage * np.float32(np.prod(grid.letterbox.source_wh))
        class_id = np.array([one.class_id for one in found], np.int32)[owner[kept]]
        return Detections(
            grid.to_source(boxes),
            np.minimum(score[kept], np.float32(1.0)),
            class_id,
            mask=masks(grids),
            attributes={"coverage": coverage, "area_px": area},
        )

    def _numbered(self, layer: Layer) -> _Numbered:
        """Number the regions of a layer, and sum each up."""
        cv2 = self._cv2
        rows, columns = np.flatnonzero(layer.member.any(axis=1)), np.flatnonzero(layer.member.any(axis=0))
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # a defect is small beside the map
        member = np.ascontiguousarray(layer.member[part])
        if self._connected:
            count, numbers, stats, _ = cv2.connectedComponentsWithStats(
                member.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
            )
            stats = stats[1:].astype(np.int64)  # the first is what belongs to none
            boxes, cells = np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1), stats[:, 4]
        else:
            count, numbers = 2, member.astype(np.uint8)
            boxes = np.array([[0, 0, *member.shape[::-1]]], np.int64)
            cells = np.array([np.count_nonzero(member)], np.int64)
        values = layer.score[part][member]
        if self._confidence == "greatest":
            score = np.zeros(count)
            np.maximum.at(score, numbers[member], values)
            score = score[1:]
        elif self._connected:
            score = np.bincount(numbers[member], values, count)[1:] / cells
        else:
            score = values.mean(dtype=np.float64, keepdims=True)
        offset = np.array([columns[0], rows[0]])
        return _Numbered(layer.class_id, boxes, cells, score.astype(np.float32), numbers, offset)
