"""Keeps the best of boxes that mean the same object."""

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.options import Thresholds

_MOST_CANDIDATES = 30_000
"""As many boxes as are compared at most; more than any usable threshold lets through."""


def finish(
    xyxy: NDArray[np.float32],
    confidence: NDArray[np.float32],
    class_id: NDArray[np.int32],
    letterbox: Letterbox,
    thresholds: Thresholds,
) -> Detections:
    """The common end of all box formats: suppress doubles, map to the source, clip to the picture.

    `xyxy` is (n, 4) in input pixels, already above the confidence threshold. The result is sorted by confidence.
    """
    if len(confidence) == 0:
        return Detections.empty()
    keep = suppress(xyxy, confidence, class_id, thresholds.iou, thresholds.max_detections)
    source = letterbox.to_source(xyxy[keep])
    width, height = letterbox.source_wh
    np.clip(source, 0.0, np.array([width, height, width, height], np.float32), out=source)
    return Detections(source, confidence[keep].astype(np.float32), class_id[keep].astype(np.int32))


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
    boxes = xyxy[order].astype(np.float32)
    # Boxes of different classes are moved apart, so that one pass serves all classes. float64: the shift must not
    # cost the small differences by which overlaps are judged.
    span = float(np.abs(boxes).max(initial=0.0)) * 2.0 + 1.0
    shifted = boxes.astype(np.float64) + (class_id[order] * span)[:, None]
    left, top, right, bottom = shifted.T
    area = np.maximum(0.0, right - left) * np.maximum(0.0, bottom - top)
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for place in range(len(order)):  # one turn per box that stays; everything inside is vectorized
        if not alive[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        rest = place + 1 + np.flatnonzero(alive[place + 1 :])
        if not len(rest):
            break
        inside_w = np.minimum(right[place], right[rest]) - np.maximum(left[place], left[rest])
        inside_h = np.minimum(bottom[place], bottom[rest]) - np.maximum(top[place], top[rest])
        common = np.maximum(0.0, inside_w) * np.maximum(0.0, inside_h)
        alive[rest[common > iou * (area[place] + area[rest] - common)]] = False
    return order[np.array(kept, np.intp)]


def xyxy_from_center(cxcywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4) center x, center y, width, height → left, top, right, bottom."""
    half = cxcywh[:, 2:] * 0.5
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)
