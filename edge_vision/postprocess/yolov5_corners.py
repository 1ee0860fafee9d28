"""Decodes a YOLOv5 head with four corners per object, as detectors of plates have it (YOLO5Face, arXiv:2105.12931)."""

from typing import Literal

import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish_with_quads, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick


class Yolov5CornersOutput(SingleOutput):
    """A YOLOv5 head with corners: [1, N, 13 + classes] as center x, y, width, height, objectness, x and y of 4 corners.

    The class scores come last. Corners run clockwise from the object's own top left.
    """

    format: Literal["yolov5_corners"]

    @property
    def gives(self) -> frozenset[Fact]:
        """Boxes, classes and corners."""
        return super().gives | {"quad"}


class Yolov5Corners:
    """[1, N, 13 + classes]: box, objectness, four corners and class scores in input pixels; score = product."""

    def __init__(
        self, options: Yolov5CornersOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # boxes and corners are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per row, the best, and their corners, which may lie outside the picture."""
        raw = pick(tensors, self._options.output)
        why = f"4 of the box, objectness, 8 of the corners, {self._classes} labels"
        check_shape("yolov5_corners", raw, (1, None, 13 + self._classes), why)
        threshold = np.float32(self._thresholds.confidence)
        rows = raw[0]
        rows = rows[rows[:, 4] >= threshold].astype(np.float32)  # a score never exceeds its objectness
        class_id = rows[:, 13:].argmax(axis=1)
        score = rows[:, 4] * rows[np.arange(len(rows)), 13 + class_id]
        seen = score >= threshold
        boxes = xyxy_from_center(rows[seen, :4])
        corners = rows[seen, 5:13].reshape(-1, 4, 2)
        return finish_with_quads(
            boxes, score[seen], class_id[seen].astype(np.int32), letterbox, self._thresholds, corners
        )
