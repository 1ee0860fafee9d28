"""Decodes YOLOv8 and v11 heads with keypoints (https://docs.ultralytics.com/tasks/pose, what the export writes)."""

from typing import Literal

import numpy as np
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick


class Yolov8PoseOutput(SingleOutput):
    """A decoded YOLOv8 or v11 pose head: [1, 4 + classes + keypoints * values, N], a column per anchor.

    A column is center x, center y, width, height, classes, and the keypoints, all in input pixels.
    """

    format: Literal["yolov8_pose"]
    keypoints: Integer = Field(17, ge=1, le=256, description="Keypoints per object; COCO's people have 17.")
    values: Literal[2, 3] = Field(3, description="Per keypoint: x and y, or with its own confidence behind.")

    @property
    def gives(self) -> frozenset[Fact]:
        """Boxes, classes and keypoints."""
        return super().gives | {"keypoints"}


class Yolov8Pose:
    """[1, 4 + classes + keypoints * values, N]; a keypoint without confidence gets that of its object."""

    def __init__(
        self, options: Yolov8PoseOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # boxes and keypoints are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._scores = slice(4, 4 + len(labels))
        self._rows = 4 + len(labels) + options.keypoints * options.values
        self._why = f"4 + {len(labels)} labels + {options.keypoints} keypoints of {options.values}"

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per anchor, the best; keypoints may lie outside the picture."""
        options = self._options
        raw = pick(tensors, options.output)
        check_shape("yolov8_pose", raw, (1, self._rows, None), self._why)
        scores = raw[0, self._scores]
        best = scores.max(axis=0)
        seen = np.flatnonzero(best >= np.float32(self._thresholds.confidence))
        class_id = scores[:, seen].argmax(axis=0).astype(np.int32)
        columns = raw[0][:, seen].T.astype(np.float32)
        points = columns[:, self._scores.stop :].reshape(len(seen), options.keypoints, options.values)
        boxes = xyxy_from_center(columns[:, :4])
        return finish(boxes, best[seen].astype(np.float32), class_id, letterbox, self._thresholds, points)
