"""Decodes the [yolo] and [region] layers of Darknet files, which OpenCV runs as part of the network."""

from typing import Literal

import numpy as np
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import pick_rows
from edge_vision.postprocess.scores_boxes import best_class


class DarknetOutput(OutputFormat):
    """The [yolo] or [region] layers of a Darknet file, as OpenCV runs them, each [N, 5 + len(labels)].

    A row is center x, center y, width, height in 0..1, objectness, and scores that objectness already is part of.
    """

    format: Literal["darknet"]
    outputs: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the outputs to read; all of them if not given."
    )


class Darknet:
    """One or more outputs [N, 5 + len(labels)]: center x, center y, width, height in 0..1, objectness, class scores."""

    def __init__(
        self, options: DarknetOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._columns = 5 + len(labels)
        self._why = f"5 + {len(labels)} labels"
        self._sides = np.array([*model_wh, *model_wh], np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections of all layers together, with one class per row, the best."""
        names = self._options.outputs or tuple(tensors)
        if not names:
            msg = "format darknet expects at least one output, the model gives none"
            raise ModelError(msg)
        layers = [pick_rows("darknet", tensors, name, (None, self._columns), self._why) for name in names]
        rows = np.concatenate(layers)
        seen, score, class_id = best_class(rows[:, 5:], self._thresholds.confidence)
        boxes = xyxy_from_center(rows[seen, :4].astype(np.float32) * self._sides)
        return finish(boxes, score, class_id, letterbox, self._thresholds)
