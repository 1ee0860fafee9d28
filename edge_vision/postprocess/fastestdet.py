"""Decodes FastestDet, one grid without anchors (https://github.com/dog-qiuqiu/FastestDet, utils/tool.py)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick
from edge_vision.postprocess.scores_boxes import best_class


class FastestdetOutput(SingleOutput):
    """A FastestDet head: [1, 5 + classes, rows, columns]: objectness, offsets, log-odds of the size, classes."""

    format: Literal["fastestdet"]


class Fastestdet:
    """[1, 5 + classes, rows, columns]; score = objectness^0.6 * class^0.4, both probabilities.

    x = (tanh(out) + column) / columns, y alike; width = sigmoid(out) of the input's width, height alike.
    """

    def __init__(
        self, options: FastestdetOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._channels = 5 + len(labels)
        self._wh = np.array(model_wh, np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per cell, the best."""
        raw = pick(tensors, self._options.output)
        labels = self._channels - 5
        check_shape("fastestdet", raw, (1, self._channels, None, None), f"5 + {labels} labels, rows and columns")
        columns = raw.shape[3]
        cells = raw[0].reshape(self._channels, -1)
        threshold = self._thresholds.confidence
        # With a class of at most 1, the score reaches the threshold only where objectness^0.6 does.
        hopeful = np.flatnonzero(cells[0] >= np.float32(threshold ** (1 / 0.6) * (1 - 1e-3)))
        rows = cells[:, hopeful].T.astype(np.float32)
        seen, best, class_id = best_class(rows[:, 5:], 0.0)
        rows, hopeful = rows[seen], hopeful[seen]
        score = rows[:, 0] ** np.float32(0.6) * best ** np.float32(0.4)
        passed = score >= np.float32(threshold)
        rows, hopeful, score, class_id = rows[passed], hopeful[passed], score[passed], class_id[passed]
        y, x = np.divmod(hopeful, max(columns, 1))
        grid = np.array([columns, raw.shape[2]], np.float32)
        center = (np.tanh(rows[:, 1:3]) + np.stack([x, y], axis=1)) / grid
        boxes = xyxy_from_center(np.concatenate([center, _sigmoid(rows[:, 3:5])], axis=1).astype(np.float32))
        return finish(boxes * np.tile(self._wh, 2), score, class_id, letterbox, self._thresholds)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # exp(-x) of a hopeless size: 1 / (1 + inf) is 0
        return np.asarray(1.0 / (1.0 + np.exp(-values)))
