"""The `output:` and `thresholds:` sections of `model.yaml`: how raw outputs become detections."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from edge_vision.core.options import Fraction, Integer, Options


class Thresholds(Options):
    """What counts as seen."""

    confidence: Fraction = Field(0.3, description="Objects below this score are left out.")
    iou: Fraction = Field(0.45, description="Of two objects of a class that overlap more than this, one stays.")
    max_detections: Integer = Field(300, ge=1, le=10_000, description="At most so many objects per frame, the best.")


class _Format(Options):
    output: str | None = Field(None, description="Name of the output to read; needed when there are several.")


class YoloxOutput(_Format):
    """A raw YOLOX head: [1, N, 5 + classes], offsets and log sizes on a grid per stride (arXiv:2107.08430)."""

    format: Literal["yolox"]
    strides: tuple[Annotated[Integer, Field(ge=1)], ...] = Field(
        (8, 16, 32), min_length=1, description="Strides of the heads, in their order."
    )


class Yolov5Output(_Format):
    """A decoded YOLOv5 or v7 head: [1, N, 5 + classes] as center x, center y, width, height, objectness, classes."""

    format: Literal["yolov5"]


class Yolov8Output(_Format):
    """A decoded YOLOv8, v9 or v11 head: [1, 4 + classes, N] as center x, center y, width, height, classes."""

    format: Literal["yolov8"]


class SsdOutput(_Format):
    """A DetectionOutput layer: [1, 1, N, 7] as image, class, score, left, top, right, bottom in 0..1."""

    format: Literal["ssd"]
    first_class: Integer = Field(0, ge=0, description="The number the network gives to the first label.")


OutputOptions: TypeAlias = Annotated[
    YoloxOutput | Yolov5Output | Yolov8Output | SsdOutput, Field(discriminator="format")
]
