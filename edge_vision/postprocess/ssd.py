"""Decodes a DetectionOutput layer, whose suppression already happened inside the network (SSD, arXiv:1512.02325)."""

from typing import Literal

import numpy as np
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish
from edge_vision.postprocess.outputs import check_shape, pick


class SsdOutput(SingleOutput):
    """A DetectionOutput layer: [1, 1, N, 7] as image, class, score, left, top, right, bottom in 0..1."""

    format: Literal["ssd"]
    first_class: Integer = Field(0, ge=0, description="The number the network gives to the first label.")


class Ssd:
    """[1, 1, N, 7]: image, class, score, left, top, right, bottom in 0..1; image -1 ends the list."""

    def __init__(
        self, options: SsdOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        # The network has suppressed doubles by its own rule; a second pass would remove what it chose to keep.
        self._thresholds = thresholds.model_copy(update={"iou": 1.0})
        self._classes = len(labels)
        self._sides = np.array([*model_wh, *model_wh], np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections; rows of classes that have no label (such as a background class) are left out."""
        raw = pick(tensors, self._options.output)
        check_shape("ssd", raw, (1, 1, None, 7), "7 values per object")
        rows = raw[0, 0].astype(np.float32)
        ends = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: ends[0]] if len(ends) else rows
        class_id = np.rint(rows[:, 1]) - np.float32(self._options.first_class)  # what is no number is no class
        seen = (rows[:, 2] >= self._thresholds.confidence) & (class_id >= 0) & (class_id < self._classes)
        boxes = rows[seen, 3:] * self._sides
        return finish(boxes, rows[seen, 2], class_id[seen].astype(np.int32), letterbox, self._thresholds)
