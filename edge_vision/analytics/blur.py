"""Makes objects unrecognizable in the picture itself: nothing behind this stage sees, draws or stores them."""

from dataclasses import replace
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import NamedZones, in_pixels
from edge_vision.core.detections import Detections
from edge_vision.core.frame import read_only
from edge_vision.core.geometry import overlaps
from edge_vision.core.options import Integer, Number
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_SAME: Final = 0.1
"""Overlap from which a region is taken for the one of before; faces that pass each other are both covered anyway."""
_GROWTH: Final = 0.5
"""By how much of its size a region grows on each side per second in which its object was not seen."""


class BlurOptions(StageOptions):
    """Covers objects in the picture that is handed on; what was found stays as it is."""

    covers: ClassVar[bool] = True

    kind: Literal["blur"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to cover; all if not given.")
    method: Literal["blur", "pixelate", "fill"] = Field(
        "blur", description="A smear, coarse blocks, or one color, of which nothing can ever be brought back."
    )
    cells: Integer = Field(3, ge=1, le=32, description="Blocks across what is covered; a smear is as coarse.")
    shape: Literal["ellipse", "box"] = Field("ellipse", description="What is covered of the grown box.")
    margin: Number = Field(0.4, ge=0, le=2, description="Boxes grow by so much of their size on each side.")
    hold_s: Number = Field(
        1.0, ge=0, le=60, description="An object stays covered for so long after it was last seen, in media time."
    )
    always: NamedZones = Field(default_factory=dict, description="By name polygons in 0..1 that are always covered.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes of known classes."""
        return frozenset({"box", "class"})


class Blur:
    """Covers what is seen now, and what was seen a moment ago where it should be by now."""

    def __init__(self, options: BlurOptions, context: StageContext) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        self._wanted = context.chosen(options.classes)
        self._now_ns = 0
        self._wh = (0, 0)
        self._forget()

    def _forget(self) -> None:
        self._boxes = np.empty((0, 4))
        self._speeds = np.empty((0, 2))
        self._tracks = np.empty(0, np.int32)
        self._seen_ns = np.empty(0, np.int64)

    def __call__(self, scene: Scene) -> Scene:
        """The scene with another picture: a copy where there is something to cover."""
        if scene.frame.wh != self._wh:  # another picture altogether
            self._wh = scene.frame.wh
            self._forget()
        self._follow(scene.detections, scene.frame.media_ns)
        if len(self._boxes) == 0 and not self._options.always:
            return scene
        image = scene.frame.image.copy()
        for box in self._regions(scene.frame.wh).tolist():
            self._cover(image, box)
        for polygon in self._options.always.values():
            self._cover_polygon(image, np.round(in_pixels(polygon, scene.frame.wh)).astype(np.int32))
        return replace(scene, frame=replace(scene.frame, image=read_only(image)))

    def _follow(self, seen: Detections, media_ns: int) -> None:
        """Take in what is seen; what is not seen any more moves on as it did, until it was held for long enough."""
        passed_s = (media_ns - self._now_ns) / 1e9
        self._now_ns = media_ns
        if passed_s < 0:  # a media clock that began anew
            self._forget()
        self._boxes = self._boxes + np.tile(self._speeds, 2) * passed_s
        seen = seen.where(self._wanted[seen.class_id] & np.isfinite(seen.xyxy).all(axis=1)) if len(seen) else seen
        ends = seen.xyxy.astype(float).reshape(-1, 2, 2)
        boxes = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        tracks = np.zeros(len(seen), np.int32) if seen.track_id is None else seen.track_id
        speeds = np.zeros((len(boxes), 2))
        left = media_ns - self._seen_ns <= int(self._options.hold_s * 1e9)
        if len(boxes) and len(self._boxes):
            alike = overlaps(boxes, self._boxes)
            alike[(tracks[:, None] == self._tracks[None]) & (tracks[:, None] > 0)] = 2.0
            before = alike.argmax(axis=1)
            known = alike[np.arange(len(boxes)), before] >= _SAME
            left[before[known]] = False
            if passed_s > 0:
                moved = (boxes - self._boxes[before]).reshape(-1, 2, 2).mean(axis=1) / passed_s
                # The prediction was off by `moved`: half of it is taken for a change of speed, as a slow filter does.
                speeds[known] = self._speeds[before[known]] + 0.5 * moved[known]
            else:
                speeds[known] = self._speeds[before[known]]
        self._boxes = np.concatenate([boxes, self._boxes[left]])
        self._speeds = np.concatenate([speeds, self._speeds[left]])
        self._tracks = np.concatenate([tracks, self._tracks[left]])
        self._seen_ns = np.concatenate([np.full(len(boxes), media_ns, np.int64), self._seen_ns[left]])

    def _regions(self, wh: tuple[int, int]) -> NDArray[np.int64]:
        """What to cover, (n, 4) in whole pixels; parts of it may lie outside the picture."""
        unseen_s = (self._now_ns - self._seen_ns) / 1e9
        sizes = self._boxes[:, 2:] - self._boxes[:, :2]
        grow = sizes * (self._options.margin + _GROWTH * unseen_s)[:, None]
        low, high = np.floor(self._boxes[:, :2] - grow), np.ceil(self._boxes[:, 2:] + grow)
        regions = np.concatenate([low, high], axis=1).astype(np.int64)
        inside = (regions[:, 2:] > np.maximum(regions[:, :2], 0)).all(axis=1)
        inside &= (regions[:, :2] < np.array(wh)).all(axis=1)
        return np.asarray(regions[inside])

    def _cover(self, image: NDArray[np.uint8], box: list[int]) -> None:
        """Cover one region of a picture, in place; only what is in the picture is laid out, however large it is."""
        left, top, right, bottom = box
        x, y = max(0, left), max(0, top)
        part = image[y:bottom, x:right]
        shape = np.full(part.shape[:2], 255, np.uint8)
        if self._options.shape == "ellipse":
            middle, axes = (
                ((right - left) // 2 + left - x, (bottom - top) // 2 + top - y),
                ((right - left + 1) // 2, (bottom - top + 1) // 2),
            )
            shape[:] = 0
            self._cv2.ellipse(shape, middle, axes, 0, 0, 360, 255, self._cv2.FILLED)
        self._coarse(part, shape)

    def _cover_polygon(self, image: NDArray[np.uint8], corners: NDArray[np.int32]) -> None:
        wh = np.array([image.shape[1], image.shape[0]])
        low, high = np.minimum(corners.min(axis=0), wh - 1), np.minimum(corners.max(axis=0) + 1, wh)
        shape = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        self._cv2.fillPoly(shape, [corners - low], 255)
        self._coarse(image[low[1] : high[1], low[0] : high[0]], shape)

    def _coarse(self, part: NDArray[np.uint8], shape: NDArray[np.uint8]) -> None:
        """Make a part of a picture coarse where `shape` is not 0."""
        cv2, cells = self._cv2, self._options.cells
        height, width = part.shape[:2]
        if self._options.method == "fill":
            cv2.copyTo(np.full_like(part, np.rint(cv2.mean(part)[:3])), shape, part)
            return
        # As many cells across the shorter side; never smaller than a few pixels, or a small face would stay as it is.
        cell = max(min(height, width) / cells, 4.0)
        grid = (max(1, round(width / cell)), max(1, round(height / cell)))
        small = cv2.resize(part, grid, interpolation=cv2.INTER_AREA)
        way = cv2.INTER_NEAREST if self._options.method == "pixelate" else cv2.INTER_LINEAR
        coarse = cv2.resize(small, (width, height), interpolation=way)
        cv2.copyTo(coarse, shape, part)
