"""Decodes networks that give scores and finished boxes in two outputs, such as UltraFace with its decoder inside."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish
from edge_vision.postprocess.outputs import pick_rows


class ScoresBoxesOutput(OutputFormat):
    """Decoded boxes beside their scores: [1, N, classes] and [1, N, 4] as left, top, right, bottom in 0..1."""

    format: Literal["scores_boxes"]
    scores: str = Field("scores", description="Name of the output with the scores.")
    boxes: str = Field("boxes", description="Name of the output with the boxes.")
    first_class: Integer = Field(1, ge=0, description="Column of the first label; those before it are background.")


class ScoresBoxes:
    """Scores [1, N, background + len(labels)] and boxes [1, N, 4]: left, top, right, bottom in 0..1 of the input."""

    def __init__(
        self, options: ScoresBoxesOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._columns = options.first_class + len(labels)
        self._why = f"{options.first_class} of background + {len(labels)} labels"
        self._sides = np.array([*model_wh, *model_wh], np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per row, the best."""
        options = self._options
        scores = pick_rows("scores_boxes", tensors, options.scores, (None, self._columns), self._why)
        boxes = pick_rows("scores_boxes", tensors, options.boxes, (len(scores), 4), "a box per row of scores")
        seen, score, class_id = best_class(scores[:, options.first_class :], self._thresholds.confidence)
        corners = boxes[seen].astype(np.float32) * self._sides
        return finish(corners, score, class_id, letterbox, self._thresholds)


def best_class(
    scores: NDArray[Any], threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int32]]:
    """Of scores (n, classes): the rows whose best class reaches the threshold, its score, and its number."""
    best = scores[:, 0] if scores.shape[1] == 1 else scores.max(axis=1)
    seen = np.flatnonzero(best >= np.float32(threshold))
    class_id = scores[seen].argmax(axis=1)
    return seen, best[seen].astype(np.float32), class_id.astype(np.int32)
