"""Decodes DETR and its successors: a set of queries, each an object or none (Carion et al., arXiv:2005.12872)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import pick_rows


class DetrOutput(OutputFormat):
    """Queries of DETR (arXiv:2005.12872) or RT-DETR (arXiv:2304.08069): logits [1, N, classes] beside boxes [1, N, 4].

    A box is center x, center y, width, height in 0..1 of the input.
    """

    format: Literal["detr"]
    scores: str = Field("logits", description="Name of the output with the logits of the classes.")
    boxes: str = Field("pred_boxes", description="Name of the output with the boxes.")
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        "softmax",
        description="softmax: one more column, the last, stands for no object (DETR); sigmoid: a column per class "
        "(Deformable DETR, RT-DETR); none: the same, and they are probabilities already.",
    )


class Detr:
    """Logits [1, N, len(labels), and one more with softmax], and boxes [1, N, 4]; nothing is suppressed."""

    def __init__(
        self, options: DetrOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        # Queries compete inside the network: two that overlap are two objects to it.
        self._thresholds = thresholds.model_copy(update={"iou": 1.0})
        none = 1 if options.activation == "softmax" else 0
        self._classes, self._columns = len(labels), len(labels) + none
        self._why = f"{len(labels)} labels{' + no object' if none else ''}"
        self._sides = np.array([*model_wh, *model_wh], np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per query, the best: the same object is not told twice."""
        options = self._options
        logits = pick_rows("detr", tensors, options.scores, (None, self._columns), self._why)
        boxes = pick_rows("detr", tensors, options.boxes, (len(logits), 4), "a box per query")
        values = logits.astype(np.float32)
        class_id = values[:, : self._classes].argmax(axis=1)
        score = _probability(values, values[np.arange(len(values)), class_id], options.activation)
        seen = np.flatnonzero(score >= np.float32(self._thresholds.confidence))
        corners = xyxy_from_center(boxes[seen].astype(np.float32)) * self._sides
        return finish(corners, score[seen], class_id[seen].astype(np.int32), letterbox, self._thresholds)


def _probability(values: NDArray[np.float32], best: NDArray[np.float32], activation: str) -> NDArray[Any]:
    """(n,): of logits (n, columns) those in `best`, as probabilities."""
    with np.errstate(over="ignore", invalid="ignore"):  # 1 / (1 + inf) is 0; what is no number passes no threshold
        if activation == "softmax":
            top = values.max(axis=1)
            return np.asarray(np.exp(best - top) / np.exp(values - top[:, None]).sum(axis=1))
        return np.asarray(1.0 / (1.0 + np.exp(-best))) if activation == "sigmoid" else best
