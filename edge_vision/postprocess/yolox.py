"""Decodes a raw YOLOX head (Ge et al., arXiv:2107.08430)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick


class YoloxOutput(SingleOutput):
    """A raw YOLOX head: [1, N, 5 + classes], offsets and log sizes on a grid per stride (arXiv:2107.08430)."""

    format: Literal["yolox"]
    strides: tuple[Annotated[Integer, Field(ge=1)], ...] = Field(
        (8, 16, 32), min_length=1, description="Strides of the heads, in their order."
    )


class Yolox:
    """[1, N, 5 + classes]: xy = (out + grid) * stride, wh = exp(out) * stride, score = objectness * class.

    N is the sum over the strides of (width / stride) * (height / stride), cells row by row.
    """

    def __init__(
        self, options: YoloxOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)
        grids, strides = [], []
        for stride in options.strides:
            columns, rows = model_wh[0] // stride, model_wh[1] // stride
            y, x = np.divmod(np.arange(columns * rows), max(columns, 1))
            grids.append(np.stack([x, y], axis=1))
            strides.append(np.full(columns * rows, stride))
        self._grid = np.concatenate(grids).astype(np.float32)
        self._stride = np.concatenate(strides).astype(np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per cell, the best."""
        raw = pick(tensors, self._options.output)
        why = f"the input size, strides {list(self._options.strides)} and {self._classes} labels"
        check_shape("yolox", raw, (1, len(self._grid), 5 + self._classes), why)
        rows = raw[0]
        threshold = np.float32(self._thresholds.confidence)
        # A score never exceeds its objectness: most cells are settled by one comparison.
        hopeful = np.flatnonzero(rows[:, 4] >= threshold)
        rows = rows[hopeful].astype(np.float32)
        class_id = rows[:, 5:].argmax(axis=1)
        score = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_id]
        seen = score >= threshold
        hopeful, rows, class_id, score = hopeful[seen], rows[seen], class_id[seen], score[seen]
        stride = self._stride[hopeful, None]
        center = (rows[:, :2] + self._grid[hopeful]) * stride
        with np.errstate(over="ignore"):  # an infinite side is dealt with in finish()
            size = np.exp(rows[:, 2:4]) * stride
        boxes = xyxy_from_center(np.concatenate([center, size], axis=1))
        return finish(boxes, score, class_id.astype(np.int32), letterbox, self._thresholds)
