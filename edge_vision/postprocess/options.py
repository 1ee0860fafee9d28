"""The `output:` and `thresholds:` sections of `model.yaml`: how raw outputs become detections."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from edge_vision.core.options import Fraction, Integer, Number, Options


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


class ScoresBoxesOutput(Options):
    """Decoded boxes beside their scores: [1, N, classes] and [1, N, 4] as left, top, right, bottom in 0..1."""

    format: Literal["scores_boxes"]
    scores: str = Field("scores", description="Name of the output with the scores.")
    boxes: str = Field("boxes", description="Name of the output with the boxes.")
    first_class: Integer = Field(1, ge=0, description="Column of the first label; those before it are background.")


_Size: TypeAlias = Annotated[Number, Field(gt=0, le=8192)]


class PriorsOutput(Options):
    """Offsets from prior boxes, as in SSD (arXiv:1512.02325) and RetinaFace (arXiv:1905.00641).

    Scores are [1, N, classes], offsets [1, N, 4] as center and log size; the axis of 1 may be missing.
    """

    format: Literal["priors"]
    scores: str = Field("scores", description="Name of the output with the scores.")
    boxes: str = Field("boxes", description="Name of the output with the offsets of the boxes.")
    first_class: Integer = Field(1, ge=0, description="Column of the first label; those before it are background.")
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="What the network leaves to be done to its scores."
    )
    strides: tuple[Annotated[Integer, Field(ge=1)], ...] = Field(
        min_length=1, description="Input pixels per cell of each feature map, in the order of the rows."
    )
    min_sizes: tuple[Annotated[tuple[_Size, ...], Field(min_length=1)], ...] = Field(
        min_length=1, description="Sides of the square priors of a cell in input pixels, a list per stride."
    )
    variances: tuple[Number, Number, Number, Number] = Field(
        (0.1, 0.1, 0.2, 0.2), description="Factors on the offsets of center x, center y, width, height."
    )
    cells: Literal["ceil", "floor"] = Field("ceil", description="How a side that no stride divides is rounded.")
    centers: Literal["cell", "stride"] = Field(
        "cell", description="Center of cell i: (i + 0.5) / cells of the side, or (i + 0.5) * stride."
    )
    clip: bool = Field(False, description="Whether priors are cut at the rim of the input, as in training.")
    iou: str | None = Field(None, description="Name of an output with expected overlaps: score = sqrt(score * iou).")
    keypoints: Integer = Field(0, ge=0, le=256, description="Keypoints per object, as offsets from the prior.")
    points: str | None = Field(None, description="Name of their output; without it they follow the box's offsets.")

    @model_validator(mode="after")
    def _a_list_per_stride(self) -> "PriorsOutput":
        if len(self.min_sizes) != len(self.strides):
            msg = f"min_sizes has {len(self.min_sizes)} lists, strides has {len(self.strides)}: they belong together"
            raise ValueError(msg)
        if self.points is not None and not self.keypoints:
            msg = "points names an output with keypoints: say with keypoints how many"
            raise ValueError(msg)
        return self


class DarknetOutput(Options):
    """The [yolo] or [region] layers of a Darknet file, as OpenCV runs them, each [N, 5 + classes].

    A row is center x, center y, width, height in 0..1, objectness, and scores that objectness already is part of.
    """

    format: Literal["darknet"]
    outputs: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the outputs to read; all of them if not given."
    )


OutputOptions: TypeAlias = Annotated[
    YoloxOutput | Yolov5Output | Yolov8Output | SsdOutput | ScoresBoxesOutput | PriorsOutput | DarknetOutput,
    Field(discriminator="format"),
]
