"""Keeps the best of boxes that mean the same object."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.format import Thresholds

_MOST_CANDIDATES = 30_000
"""As many boxes as are compared at most; more than any usable threshold lets through."""
_BLOCK = 256
"""Boxes compared at once, each with each."""


def finish(
    xyxy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.int32],
    letterbox: Letterbox,
    thresholds: Thresholds,
    points: NDArray[np.float32] | None = None,
) -> Detections:
    """The common end of all box formats: suppress doubles, map to the source, clip to the picture.

    A box that is not finite (an overflow in half precision, say), or shows nothing of the picture, is no object, and
    must not disturb the others. A score above 1, as rounding gives it, is 1.
    `xyxy` is (n, 4) in input pixels, already above the confidence threshold; `points` (n, k, 2) are keypoints there,
    which get the confidence of their object, (n, k, 3) those with one of their own; they may lie outside the picture.
    The result is sorted by confidence.
    """
    source = cut(letterbox.to_source(xyxy), letterbox)
    real = has_area(source) & np.isfinite(xyxy).all(axis=1) & np.isfinite(confidence)
    if points is not None:
        real &= np.isfinite(points).all(axis=(1, 2))
    if not real.all():
        xyxy, source, confidence, class_id = xyxy[real], source[real], confidence[real], class_id[real]
        points = None if points is None else points[real]
    if len(confidence) == 0:
        return Detections.empty()
    keep = suppress(xyxy, confidence, class_id, thresholds.iou, thresholds.max_detections)
    source, score = source[keep], np.clip(confidence[keep].astype(np.float32), 0.0, 1.0)
    keypoints = None if points is None else _keypoints(points[keep], score, letterbox)
    return Detections(source, score, class_id[keep].astype(np.int32), keypoints=keypoints)


def cut(source: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """The part of boxes (n, 4) in source pixels that lies in the picture."""
    width, height = letterbox.source_wh
    return np.clip(source, 0.0, np.array([width, height, width, height], np.float32))


def has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n,): whether anything is left of boxes (n, 4); nothing of one that is no number."""
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def finish_with_quads(
    xyxy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.int32],
    letterbox: Letterbox,
    thresholds: Thresholds,
    quads: NDArray[np.float32],
) -> Detections:
    """The same end for objects with corners: `quads` (n, 4, 2) in input pixels come out as the column `quad`."""
    found = finish(xyxy, confidence, class_id, letterbox, thresholds, quads)
    quad = np.empty((0, 4, 2), np.float32) if found.keypoints is None else found.keypoints[:, :, :2]
    return replace(found, keypoints=None, quad=quad)


def _with_confidence(points: NDArray[np.float32], score: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, k, 2) and (n,) → (n, k, 3): x, y, confidence."""
    return np.concatenate([points, np.broadcast_to(score[:, None, None], (*points.shape[:2], 1))], axis=2)


def suppress(
    xyxy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.int32],
    iou: float,
    most: int,
) -> NDArray[np.intp]:
    """Class-wise greedy non-maximum suppression; positions of what stays, best first, at most `most`.

    A box goes when it overlaps a better one of its class by more than `iou` (intersection over union). Equal scores
    keep their order.
    """
    order = np.argsort(-confidence, kind="stable")[:_MOST_CANDIDATES]
    # Boxes of different classes are moved apart, so that one pass serves all classes. float64: the shift must not
    # cost the small differences by which overlaps are judged.
    boxes = xyxy[order].astype(np.float64)
    boxes += (class_id[order] * (np.abs(boxes).max(initial=0.0) * 2.0 + 1.0))[:, None]
    return order[greedy(len(order), most, lambda one, other: _overlap(boxes[one], boxes[other], iou))]


def greedy(
    count: int, most: int, covers: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]
) -> NDArray[np.intp]:
    """Which of `count` candidates, best first, are covered by none that stays: at most `most` positions.

    `covers` tells of positions (n,) and (m,) which of the former (n, m) overlap which of the latter too much.
    """
    kept = np.empty(0, np.intp)
    for start in range(0, count, _BLOCK):  # one block is enough for any usual frame
        block = np.arange(start, min(start + _BLOCK, count))
        if len(kept):
            block = block[~covers(block, kept).any(axis=1)]
        doubles = np.triu(covers(block, block), 1)  # [i, j]: the better candidate i covers j
        alive = np.ones(len(block), bool)
        for place in np.flatnonzero(doubles.any(axis=1)):
            if alive[place]:
                alive &= ~doubles[place]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    return kept[:most]


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64], iou: float) -> NDArray[np.bool_]:
    """(n, m): whether boxes (n, 4) and (m, 4) overlap by more than `iou`."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = _area(one)[:, None] + _area(other)[None, :]
    return np.asarray(common > iou * (areas - common))


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1))


def xyxy_from_center(cxcywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4) center x, center y, width, height → left, top, right, bottom."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity: what is no number is no box
        half = cxcywh[:, 2:] * 0.5
        return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def _keypoints(points: NDArray[np.float32], score: NDArray[np.float32], letterbox: Letterbox) -> NDArray[np.float32]:
    """(n, k, 3) in source pixels, of points (n, k, 2) or (n, k, 3) in input pixels."""
    placed = letterbox.to_source(points[:, :, :2])
    if points.shape[2] == 2:  # noqa: PLR2004 - x and y
        return _with_confidence(placed, score)
    return np.concatenate([placed, np.clip(points[:, :, 2:], 0.0, 1.0)], axis=2)
