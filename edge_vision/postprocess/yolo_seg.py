"""Decodes YOLOv8 heads with masks, which mix prototypes as YOLACT does (Bolya et al., arXiv:1904.02689)."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections, masks
from edge_vision.core.geometry import Letterbox
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import cut, finish, has_area, suppress, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick


class Yolov8SegOutput(OutputFormat):
    """Rows [1, 4 + classes + K, N] as in yolov8 with K coefficients each, and K prototypes [1, K, H, W] of masks."""

    format: Literal["yolov8_seg"]
    boxes: str = Field("output0", description="Name of the output with boxes, scores and coefficients.")
    prototypes: str = Field("output1", description="Name of the output with the prototypes.")

    @property
    def gives(self) -> frozenset[Fact]:
        """A mask for each box."""
        return frozenset({"box", "class", "mask"})


class Yolov8Seg:
    """A mask is where the sum of coefficient * prototype is above 0, which is a probability above one half.

    It is sampled inside of the object's box only, with two points per cell of the prototypes along each side.
    """

    def __init__(
        self, options: Yolov8SegOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the boxes are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per anchor, the best; attributes coverage and area_px are those of the mask."""
        prototypes = pick(tensors, self._options.prototypes)
        check_shape("yolov8_seg", prototypes, (1, None, None, None), "prototypes")
        if prototypes.size == 0:
            check_shape("yolov8_seg", prototypes, (), "no axis may be empty")
        raw = pick(tensors, self._options.boxes)
        first = 4 + self._classes
        why = f"4 + {self._classes} labels + {prototypes.shape[1]} prototypes"
        check_shape("yolov8_seg", raw, (1, first + prototypes.shape[1], None), why)
        scores = raw[0, 4:first]
        best = scores.max(axis=0)
        seen = np.flatnonzero(best >= np.float32(self._thresholds.confidence))
        boxes = xyxy_from_center(raw[0, :4][:, seen].T.astype(np.float32))
        coefficients = raw[0, first:][:, seen].T.astype(np.float32)
        real = np.isfinite(boxes).all(axis=1) & np.isfinite(coefficients).all(axis=1) & np.isfinite(best[seen])
        real &= has_area(cut(letterbox.to_source(boxes), letterbox))
        seen, boxes, coefficients = seen[real], boxes[real], coefficients[real]
        class_id = scores[:, seen].argmax(axis=0).astype(np.int32)
        confidence = best[seen].astype(np.float32)
        keep = suppress(boxes, confidence, class_id, self._thresholds.iou, self._thresholds.max_detections)
        kept = self._thresholds.model_copy(update={"iou": 1.0})  # what is kept already stays
        found = finish(boxes[keep], confidence[keep], class_id[keep], letterbox, kept)
        if len(found) == 0:
            return found
        return _with_masks(found, coefficients[keep], prototypes[0], letterbox)


def _with_masks(
    found: Detections, coefficients: NDArray[np.float32], prototypes: NDArray[Any], letterbox: Letterbox
) -> Detections:
    """The same detections with the mask of each; row i of the coefficients (n, K) belongs to row i."""
    cell = np.tile(np.array(letterbox.model_wh) / prototypes.shape[:0:-1], 2)
    grids = [
        _mask(one, box, prototypes)
        for one, box in zip(coefficients, letterbox.to_model(found.xyxy) / cell, strict=True)
    ]
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    area = np.array([grid.mean() for grid in grids], np.float32) * np.prod(sides, axis=1)
    coverage = (area / np.prod(letterbox.source_wh)).astype(np.float32)
    return replace(found, mask=masks(grids), attributes={"coverage": coverage, "area_px": area})


def _mask(coefficients: NDArray[np.float32], box: NDArray[np.floating], prototypes: NDArray[Any]) -> NDArray[np.bool_]:
    """The mask over a box, which is in cells of the prototypes (K, H, W)."""
    x, left, right = _points(float(box[0]), float(box[2]), prototypes.shape[2])
    y, top, bottom = _points(float(box[1]), float(box[3]), prototypes.shape[1])
    part = prototypes[:, top:bottom, left:right].astype(np.float32)
    # Between the centers of the cells the sum is interpolated; the weights along each side are a matrix.
    down, across = _weights(y - top, bottom - top), _weights(x - left, right - left)
    with np.errstate(invalid="ignore", over="ignore"):  # what is no number is above nothing
        return np.asarray(down @ np.tensordot(coefficients, part, axes=1) @ across.T > 0.0)


def _points(start: float, end: float, count: int) -> tuple[NDArray[np.float64], int, int]:
    """Where to sample along one side, as positions between centers of cells, and the cells that are needed for it."""
    number = max(1, round((end - start) * 2))
    points = np.clip(start + (np.arange(number) + 0.5) * (end - start) / number - 0.5, 0, count - 1)
    return points, int(points[0]), int(np.ceil(points[-1])) + 1


def _weights(points: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """(points, cells): how much each cell counts at each point; two neighbors share it by their distance."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(points[:, None] - np.arange(count))), np.float32)
