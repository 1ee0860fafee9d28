"""Finds lines of text in a map of how likely each pixel is text (DBNet, Liao et al., arXiv:1911.08947)."""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Fraction, Number
from edge_vision.core.plugin import require
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.nms import finish_with_quads
from edge_vision.postprocess.outputs import check_shape, pick

_MOST_REGIONS: Final = 1000
"""As many regions as are looked at, the largest: noise makes thousands."""


class DbnetOutput(SingleOutput):
    """A map of probabilities [1, 1, rows, columns]: each region of text becomes a rotated rectangle (DBNet).

    The threshold `confidence` is held against the mean probability inside the rectangle.
    """

    format: Literal["dbnet"]
    activation: Literal["none", "sigmoid"] = Field("none", description="What the network leaves to be done.")
    threshold: Fraction = Field(0.3, description="A pixel above this is text.")
    unclip: Number = Field(
        1.5, ge=0, le=10, description="How far the shrunken regions are grown: area * unclip / perimeter, on each side."
    )
    min_side_px: Number = Field(3.0, ge=0, le=1000, description="Regions narrower than this in the map are left out.")

    @property
    def gives(self) -> frozenset[Fact]:
        """Boxes of one class, and their corners."""
        return super().gives | {"quad"}


class Dbnet:
    """[1, 1, rows, columns], of the input's aspect ratio: a quad per region, clockwise from its top left.

    Lines that run up to 45 degrees off the horizontal begin at their left; steeper ones are tall and begin at the top.
    """

    def __init__(
        self, options: DbnetOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del labels  # whatever the one class is called
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        # Regions never touch: what overlaps are rectangles of lines side by side, and both are wanted.
        self._thresholds = thresholds.model_copy(update={"iou": 1.0})
        self._model_wh = model_wh

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections of class 0 with `quad`, which may lie a little outside the picture."""
        raw = pick(tensors, self._options.output)
        check_shape("dbnet", raw, (1, 1, None, None), "a map of one class")
        width, height = self._model_wh
        rows, columns = raw.shape[2:]
        if rows * width != columns * height or not rows:
            msg = f"format dbnet expects a map like the input of {width}x{height}, the model gives {list(raw.shape)}"
            raise ModelError(msg)
        chances = np.ascontiguousarray(raw[0, 0], np.float32)
        if self._options.activation == "sigmoid":
            with np.errstate(over="ignore"):  # 1 / (1 + infinity) is the 0 that is meant
                chances = np.asarray(1.0 / (1.0 + np.exp(-chances)), np.float32)
        rectangles, scores = self._regions(chances)
        seen = (scores >= np.float32(self._thresholds.confidence)) & (
            rectangles[:, 2:4].min(axis=1, initial=np.inf) >= self._options.min_side_px
        )
        quads = corners(grown(rectangles[seen], self._options.unclip)) * np.float32(width / columns)
        boxes = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
        class_id = np.zeros(len(quads), np.int32)
        return finish_with_quads(boxes, scores[seen], class_id, letterbox, self._thresholds, quads)

    def _regions(self, chances: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The rectangle around each region of text, (n, 5) as cv2 has it, and its score (n,)."""
        cv2 = self._cv2
        text = (chances > self._options.threshold).astype(np.uint8)
        outlines, _ = cv2.findContours(text, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(outlines) > _MOST_REGIONS:
            outlines = sorted(outlines, key=cv2.contourArea, reverse=True)[:_MOST_REGIONS]
        rectangles = np.empty((len(outlines), 5), np.float32)
        scores = np.empty(len(outlines), np.float32)
        for number, outline in enumerate(outlines):
            (x, y), (width, height), angle = cv2.minAreaRect(outline)
            # An outline runs through the centers of pixels: the region reaches half a pixel further.
            rectangles[number] = x + 0.5, y + 0.5, width + 1, height + 1, angle
            scores[number] = self._score(chances, np.rint(cv2.boxPoints(((x, y), (width, height), angle))).astype(int))
        return rectangles, scores

    def _score(self, chances: NDArray[np.float32], points: NDArray[np.int_]) -> float:
        """The mean of the map inside a polygon (4, 2) of pixels."""
        cv2, (rows, columns) = self._cv2, chances.shape
        left, top = np.clip(points.min(axis=0), 0, [columns - 1, rows - 1])
        right, bottom = np.clip(points.max(axis=0), 0, [columns - 1, rows - 1])
        inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
        cv2.fillConvexPoly(inside, (points - [left, top]).astype(np.int32), 1)
        return float(cv2.mean(chances[top : bottom + 1, left : right + 1], inside)[0])


def grown(rectangles: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """Rectangles (n, 5) moved out on every side by area * ratio / perimeter, which undoes the shrinking of training."""
    sides = rectangles[:, 2:4]
    offset = sides.prod(axis=1) * ratio / (2.0 * sides.sum(axis=1))
    return np.concatenate([rectangles[:, :2], sides + 2.0 * offset[:, None], rectangles[:, 4:]], axis=1)


def corners(rectangles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4, 2) of rectangles (n, 5), center x and y, sides and degrees, clockwise from the top left.

    The side nearest to the horizontal is the upper one.
    """
    center, (width, height) = rectangles[:, :2], (rectangles[:, 2], rectangles[:, 3])
    quarters = np.rint(rectangles[:, 4] / 90.0)
    radians = np.deg2rad(rectangles[:, 4] - 90.0 * quarters)
    swapped = quarters.astype(int) % 2 == 1
    width, height = np.where(swapped, height, width), np.where(swapped, width, height)
    along = np.stack([np.cos(radians), np.sin(radians)], axis=1) * width[:, None] / 2
    down = np.stack([-np.sin(radians), np.cos(radians)], axis=1) * height[:, None] / 2
    offsets = np.stack([-along - down, along - down, along + down, down - along], axis=1)
    return np.asarray(center[:, None] + offsets, np.float32)
