"""Decodes YOLO heads whose boxes are already in input pixels (YOLOv5 and v7; YOLOv8, v9 and v11)."""

from typing import Literal

import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick


class Yolov5Output(SingleOutput):
    """A decoded YOLOv5 or v7 head: [1, N, 5 + classes] as center x, center y, width, height, objectness, classes."""

    format: Literal["yolov5"]


class Yolov8Output(SingleOutput):
    """A decoded YOLOv8, v9 or v11 head: [1, 4 + classes, N] as center x, center y, width, height, classes."""

    format: Literal["yolov8"]


class Yolov5:
    """[1, N, 5 + classes]: center x, center y, width, height, objectness, class scores; score = product."""

    def __init__(
        self, options: Yolov5Output, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the boxes are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per row, the best."""
        raw = pick(tensors, self._options.output)
        check_shape("yolov5", raw, (1, None, 5 + self._classes), f"5 + {self._classes} labels")
        threshold = np.float32(self._thresholds.confidence)
        rows = raw[0]
        rows = rows[rows[:, 4] >= threshold].astype(np.float32)
        class_id = rows[:, 5:].argmax(axis=1)
        score = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_id]
        seen = score >= threshold
        boxes = xyxy_from_center(rows[seen, :4])
        return finish(boxes, score[seen], class_id[seen].astype(np.int32), letterbox, self._thresholds)


class Yolov8:
    """[1, 4 + classes, N]: one column per anchor: center x, center y, width, height, class scores."""

    def __init__(
        self, options: Yolov8Output, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the boxes are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per anchor, the best."""
        raw = pick(tensors, self._options.output)
        check_shape("yolov8", raw, (1, 4 + self._classes, None), f"4 + {self._classes} labels")
        scores = raw[0, 4:]
        # The maximum runs over contiguous rows; the argmax is needed only for the few anchors that count.
        best = scores.max(axis=0)
        seen = np.flatnonzero(best >= np.float32(self._thresholds.confidence))
        class_id = scores[:, seen].argmax(axis=0)
        boxes = xyxy_from_center(raw[0, :4][:, seen].T.astype(np.float32))
        return finish(boxes, best[seen].astype(np.float32), class_id.astype(np.int32), letterbox, self._thresholds)
