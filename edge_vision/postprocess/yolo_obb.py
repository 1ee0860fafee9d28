"""Decodes YOLOv8 and v11 heads with turned boxes (https://docs.ultralytics.com/tasks/obb, what the export writes)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import cut, greedy, has_area
from edge_vision.postprocess.outputs import check_shape, pick

_MOST_CANDIDATES = 30_000


class Yolov8ObbOutput(SingleOutput):
    """A decoded YOLOv8 or v11 head with turned boxes: [1, 4 + classes + 1, N], a column per anchor.

    A column is center x, center y, width, height in input pixels, classes, and the angle from the x axis to the
    width, clockwise on the screen, in radians.
    """

    format: Literal["yolov8_obb"]

    @property
    def gives(self) -> frozenset[Fact]:
        """Boxes, classes and corners."""
        return super().gives | {"quad"}


class Yolov8Obb:
    """[1, 5 + classes, N]; of turned boxes of a class that overlap by more than `iou` the best one stays.

    The overlap is the probabilistic one of the Gaussians that stand for the boxes (Llerena et al., arXiv:2106.06072),
    with which these heads are trained and suppressed by their authors. It is not the overlap of the polygons: equal
    boxes have 1, distant ones 0, and in between it is mostly less.
    """

    def __init__(
        self, options: Yolov8ObbOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the boxes are in input pixels already
        self._options = options
        self._thresholds = thresholds
        self._rows = 5 + len(labels)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per anchor: `quad` is the turned box, `xyxy` the box around it in the picture."""
        thresholds = self._thresholds
        raw = pick(tensors, self._options.output)
        check_shape("yolov8_obb", raw, (1, self._rows, None), f"5 + {self._rows - 5} labels")
        scores = raw[0, 4:-1]
        best = scores.max(axis=0)
        seen = np.flatnonzero(best >= np.float32(thresholds.confidence))
        seen = seen[np.isfinite(raw[0][:, seen]).all(axis=0)]
        seen = seen[np.argsort(-best[seen], kind="stable")[:_MOST_CANDIDATES]]
        boxes = raw[0][:, seen].T[:, [0, 1, 2, 3, -1]].astype(np.float32)
        quad = letterbox.to_source(_quads(boxes))
        xyxy = cut(np.concatenate([quad.min(axis=1), quad.max(axis=1)], axis=1), letterbox)
        inside = has_area(xyxy)
        seen, boxes, quad, xyxy = seen[inside], boxes[inside], quad[inside], xyxy[inside]
        class_id = scores[:, seen].argmax(axis=0).astype(np.int32)
        gaussians = _gaussians(boxes)

        def covers(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.bool_]:
            same = class_id[one][:, None] == class_id[other][None, :]
            return np.asarray(same & (_overlap(gaussians[one], gaussians[other]) > thresholds.iou))

        keep = greedy(len(seen), thresholds.max_detections, covers)
        if len(keep) == 0:
            return Detections.empty()
        score = np.clip(best[seen[keep]].astype(np.float32), 0.0, 1.0)
        return Detections(xyxy[keep], score, class_id[keep], quad=quad[keep])


def _quads(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4, 2): the corners of turned boxes (n, 5), clockwise from their own top left."""
    cos, sin = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    right = np.concatenate([cos, sin], axis=1) * boxes[:, 2:3] / 2
    down = np.concatenate([-sin, cos], axis=1) * boxes[:, 3:4] / 2
    corners = [-right - down, right - down, right + down, down - right]
    return boxes[:, None, :2] + np.stack(corners, axis=1)


def _gaussians(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 5): mean x and y, and variances along x, along y, and across, of evenly filled turned boxes (n, 5)."""
    x, y, width, height, angle = boxes.astype(np.float64).T
    along, across = width**2 / 12, height**2 / 12
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [x, y, along * cos**2 + across * sin**2, along * sin**2 + across * cos**2, (along - across) * cos * sin]
    return np.stack(rows, axis=1)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[Any]:
    """(n, m): 1 - the Hellinger distance of Gaussians (n, 5) and (m, 5)."""
    least = 1e-12  # a box without area has no density
    apart_x, apart_y, xx, yy, xy = np.moveaxis(one[:, None] * (1, 1, 1, 1, 1) + other[None] * (-1, -1, 1, 1, 1), 2, 0)
    spread = np.maximum(xx * yy - xy**2, least)
    areas = [np.maximum(part[:, 2] * part[:, 3] - part[:, 4] ** 2, least) for part in (one, other)]
    means = (yy * apart_x**2 + xx * apart_y**2 - 2 * xy * apart_x * apart_y) / spread / 4
    forms = np.log(spread / (4 * np.sqrt(areas[0][:, None] * areas[1][None, :]))) / 2
    return np.asarray(1 - np.sqrt(np.maximum(1 - np.exp(-np.maximum(means + forms, 0.0)), 0.0)))
