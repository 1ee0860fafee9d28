"""Reads finished detections of a network that suppresses doubles itself, in the layouts that exporters write."""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import check_shape, pick, pick_rows

_COLUMNS: Final = {"box_score_class": (0, 4, 5), "class_score_box": (2, 1, 0), "image_box_class_score": (1, 6, 5)}
"""Of each order of columns where the box begins, the score, and the class."""


class End2endOutput(OutputFormat):
    """Finished detections, in one output of 6 or 7 columns, or in outputs for boxes, scores, classes and their count.

    One: YOLOv10 (arXiv:2405.14458) and other exports with suppression inside, Paddle, YOLOv7. Several: TensorRT's
    EfficientNMS plugin, the TensorFlow Object Detection API, MMDeploy.
    """

    format: Literal["end2end"]
    output: str | None = Field(None, description="Name of the one output; needed when there are several.")
    columns: Literal["box_score_class", "class_score_box", "image_box_class_score"] = Field(
        "box_score_class",
        description="Its columns: box_score_class (YOLOv10), class_score_box (Paddle), image_box_class_score (YOLOv7).",
    )
    boxes: str | None = Field(None, description="Name of the output with the boxes, where they have one of their own.")
    scores: str | None = Field(None, description="Of the scores; without it they are the fifth column of the boxes.")
    classes: str | None = Field(None, description="Of the numbers of the classes.")
    count: str | None = Field(None, description="Of how many rows count; all if not given.")
    box: Literal["xyxy", "yxyx", "cxcywh"] = Field(
        "xyxy", description="left, top, right, bottom; top, left, bottom, right (TensorFlow); center, width, height."
    )
    unit: Literal["pixel", "input"] = Field(
        "pixel", description="pixel: boxes in pixels of the input; input: in 0..1 of it (TensorFlow)."
    )
    first_class: Integer = Field(0, ge=0, description="The number the network gives to the first label.")

    @model_validator(mode="after")
    def _one_or_several(self) -> "End2endOutput":
        named = {key for key in ("boxes", "scores", "classes", "count") if getattr(self, key) is not None}
        if named and not {"boxes", "classes"} <= named:
            msg = "boxes and classes are named together"
            raise ValueError(msg)
        if named and self.model_fields_set & {"output", "columns"}:
            msg = "output and columns are for detections in one output, boxes and classes for those in several"
            raise ValueError(msg)
        return self


class End2end:
    """Rows of a box, a score and a class; those the network fills up with, of no class or no score, are left out."""

    def __init__(
        self, options: End2endOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        # The network has suppressed doubles by its own rule; a second pass would remove what it chose to keep.
        self._thresholds = thresholds.model_copy(update={"iou": 1.0})
        self._classes = len(labels)
        self._sides = np.array([*model_wh, *model_wh], np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections; rows of classes that have no label (such as a background class) are left out."""
        options = self._options
        boxes, score, number = self._one(tensors) if options.boxes is None else self._several(tensors, options.boxes)
        with np.errstate(invalid="ignore"):  # what is no number is no class
            class_id = np.rint(number) - options.first_class  # f16 or a division may leave 2.998
            seen = (score >= np.float32(self._thresholds.confidence)) & (class_id >= 0) & (class_id < self._classes)
        corners = _corners(boxes[seen].astype(np.float32), options.box)
        if options.unit == "input":
            corners = corners * self._sides
        return finish(corners, score[seen], class_id[seen].astype(np.int32), letterbox, self._thresholds)

    def _one(self, tensors: Tensors) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Boxes (n, 4), scores (n,) and class numbers (n,) of one output."""
        columns = self._options.columns
        begin, score, number = _COLUMNS[columns]
        raw = pick(tensors, self._options.output)
        rows = raw if raw.ndim == 2 else raw[0] if raw.ndim and len(raw) else raw  # noqa: PLR2004 - no batch axis
        width = 6 + columns.startswith("image")
        check_shape("end2end", rows, (None, width), f"{columns.replace('_', ', ')}: {width} columns")
        if columns.startswith("image"):
            rows = rows[rows[:, 0] == 0]
        return rows[:, begin : begin + 4], rows[:, score], rows[:, number]

    def _several(self, tensors: Tensors, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The same of several outputs."""
        options = self._options
        width = 4 if options.scores is not None else 5
        boxes = pick_rows("end2end", tensors, name, (None, width), "4 of the box, and the score without scores:")
        score = boxes[:, 4] if options.scores is None else _column(tensors, options.scores, len(boxes))
        number = _column(tensors, options.classes, len(boxes))
        if options.count is not None:
            counts = pick(tensors, options.count)
            if counts.size != 1:
                check_shape(f"end2end, {options.count}:", counts, (1,), "one count")
            valid = int(np.nan_to_num(counts.reshape(-1)[0]))
            boxes, score, number = boxes[:valid], score[:valid], number[:valid]
        return boxes[:, :4], score, number


def _column(tensors: Tensors, name: str | None, rows: int) -> NDArray[Any]:
    """A value per row: [1, rows], [rows], or with an axis of 1 behind."""
    value = pick(tensors, name)
    if value.ndim == 0 or value.size != rows or rows not in value.shape:
        check_shape(f"end2end, {name}:", value, (1, rows), "a value per box")
    return value.reshape(-1)


def _corners(boxes: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    if order == "cxcywh":
        return xyxy_from_center(boxes)
    return boxes[:, [1, 0, 3, 2]] if order == "yxyx" else boxes
