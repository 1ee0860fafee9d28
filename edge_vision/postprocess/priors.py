"""Decodes offsets from prior boxes: SSD (arXiv:1512.02325), RetinaFace (arXiv:1905.00641), UltraFace, YuNet of 2021."""

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer, Number
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish, xyxy_from_center
from edge_vision.postprocess.outputs import pick_rows
from edge_vision.postprocess.scores_boxes import best_class

_Size: TypeAlias = Annotated[Number, Field(gt=0, le=8192)]


class PriorsOutput(OutputFormat):
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

    @property
    def gives(self) -> frozenset[Fact]:
        """Keypoints where the network has them."""
        return super().gives | ({"keypoints"} if self.keypoints else set())

    @model_validator(mode="after")
    def _a_list_per_stride(self) -> "PriorsOutput":
        if len(self.min_sizes) != len(self.strides):
            msg = f"min_sizes has {len(self.min_sizes)} lists, strides has {len(self.strides)}: they belong together"
            raise ValueError(msg)
        if self.points is not None and not self.keypoints:
            msg = "points names an output with keypoints: say with keypoints how many"
            raise ValueError(msg)
        return self


class Priors:
    """Scores [1, N, background + classes] and offsets [1, N, 4 + 2 * keypoints] from N priors.

    center = prior + offset * variance * prior size; size = prior size * exp(offset * variance); a keypoint is like a
    center. N is the sum over the strides of cells times priors per cell: cells row by row, the priors of one together.
    """

    def __init__(
        self, options: PriorsOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._columns = options.first_class + len(labels)
        self._why = (
            f"{options.first_class} of background + {len(labels)} labels; rows of the input size, strides, min_sizes"
        )
        self._priors = prior_boxes(options, model_wh)
        self._wh = np.array(model_wh, np.float32)
        self._variances = np.array(options.variances, np.float32)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per prior, the best; with keypoints where the network has them."""
        options, count = self._options, len(self._priors)
        inside = 2 * options.keypoints if options.points is None else 0
        scores = pick_rows("priors", tensors, options.scores, (count, self._columns), self._why)
        offsets = pick_rows("priors", tensors, options.boxes, (count, 4 + inside), self._why)
        scores = _activated(scores, options.activation)[:, options.first_class :]
        if options.iou is not None:
            overlap = pick_rows("priors", tensors, options.iou, (count, 1), self._why)
            scores = np.sqrt(scores.astype(np.float32) * np.clip(overlap, 0.0, 1.0))
        seen, score, class_id = best_class(scores, self._thresholds.confidence)
        priors, rows = self._priors[seen], offsets[seen].astype(np.float32)
        points = self._points(tensors, priors, rows, seen) if options.keypoints else None
        center = self._moved(priors, rows[:, :2])
        with np.errstate(over="ignore"):  # an infinite side is dealt with in finish()
            size = priors[:, 2:] * np.exp(rows[:, 2:4] * self._variances[2:])
        boxes = xyxy_from_center(np.concatenate([center * self._wh, size * self._wh], axis=1))
        return finish(boxes, score, class_id, letterbox, self._thresholds, points)

    def _points(
        self, tensors: Tensors, priors: NDArray[np.float32], rows: NDArray[np.float32], seen: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Keypoints (n, k, 2) in input pixels: from an output of their own, or from behind the box's offsets."""
        options = self._options
        if options.points is not None:
            columns = (len(self._priors), 2 * options.keypoints)
            shifts = pick_rows("priors", tensors, options.points, columns, self._why)[seen].astype(np.float32)
        else:
            shifts = rows[:, 4:]
        return np.asarray(self._moved(priors[:, None], shifts.reshape(len(seen), options.keypoints, 2)) * self._wh)

    def _moved(self, priors: NDArray[np.float32], shifts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centers of priors (..., 4), moved by offsets (..., 2)."""
        return np.asarray(priors[..., :2] + shifts * self._variances[:2] * priors[..., 2:])


def prior_boxes(options: PriorsOutput, model_wh: tuple[int, int]) -> NDArray[np.float32]:
    """(n, 4): center x, center y, width, height of every prior in 0..1, in the order of the rows."""
    width, height = model_wh
    parts: list[NDArray[np.float64]] = []
    for stride, sizes in zip(options.strides, options.min_sizes, strict=True):
        up = stride - 1 if options.cells == "ceil" else 0
        columns, rows = (width + up) // stride, (height + up) // stride
        y, x = np.divmod(np.arange(columns * rows), max(columns, 1))
        sides = (columns, rows) if options.centers == "cell" else (width / stride, height / stride)
        centers = (np.stack([x, y], axis=1) + 0.5) / np.maximum(sides, 1e-9)
        squares = np.array(sizes)[:, None] / np.array([width, height])
        parts.append(np.concatenate([centers.repeat(len(sizes), axis=0), np.tile(squares, (len(centers), 1))], axis=1))
    priors = np.concatenate(parts)
    return (np.clip(priors, 0.0, 1.0) if options.clip else priors).astype(np.float32)


def _activated(scores: NDArray[Any], activation: str) -> NDArray[Any]:
    """Scores (n, classes) as probabilities."""
    if activation == "none":
        return scores
    exponents = scores.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # 1 / (1 + inf) is 0; what is no number passes no threshold
        if activation == "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-exponents)))
        powers = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
