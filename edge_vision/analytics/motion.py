"""Finds what moves, on a small gray picture: no model needed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import NamedZones, Point, Polygon, in_pixels
from edge_vision.core.detections import Detections
from edge_vision.core.events import MotionChanged
from edge_vision.core.options import Fraction, Integer, Number, Seconds
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_LABEL: Final = "motion"
_VARIANCES: Final = 16.0
"""How many variances from its background a pixel is when it moves: OpenCV's default for MOG2, at sensitivity 0.5."""
_LEVELS: Final = 20.0
"""The same for the difference of two frames, in gray levels: some noise and compression lie below."""
_GAP_NS: Final = 10_000_000_000
"""After so long without a frame the background may be another one."""


class MotionOptions(StageOptions):
    """Finds what moves: each moving area is an object of class `motion`, and an event tells when it begins and ends."""

    kind: Literal["motion"]
    method: Literal["background", "difference"] = Field(
        "background", description="Compare with a learned background, or with the frame before, which is cheaper."
    )
    sensitivity: Fraction = Field(0.5, description="0 sees only what differs much, 1 sees also noise.")
    width_px: Integer = Field(320, ge=32, le=1920, description="The picture is looked at so wide: cost against detail.")
    learn_s: Seconds = Field(2.0, description="What stands still for about so long becomes background, in media time.")
    zone: Polygon | None = Field(
        None, description="Three or more points [x, y] in 0..1 to watch; the whole picture if not given."
    )
    ignore: NamedZones = Field(default_factory=dict, description="By name polygons in 0..1 that are not watched.")
    min_area: Fraction = Field(0.002, description="Smallest moving area that is an object, of the picture.")
    max_area: Fraction = Field(
        0.8,
        gt=0,
        description="When more of it differs, the light or the camera has changed: nothing moves.",
    )
    merge: Fraction = Field(0.02, description="Moving areas closer than this are one object, of the picture's width.")
    min_s: Number = Field(0.2, ge=0, le=3600, description="Something moves when it has for so long, in media time.")
    still_s: Number = Field(
        2.0, ge=0, le=3600, description="All is still when nothing has moved for so long, in media time."
    )

    def gives(self, model: frozenset[Fact]) -> frozenset[Fact]:
        """Boxes around what moves."""
        return model | {"box", "class"}

    @property
    def labels(self) -> tuple[str, ...]:
        """One class."""
        return (_LABEL,)

    @model_validator(mode="after")
    def _areas_in_order(self) -> "MotionOptions":
        if self.min_area >= self.max_area:
            msg = f"min_area {self.min_area:g} is not less than max_area {self.max_area:g}"
            raise ValueError(msg)
        return self


class Motion:
    """Compares each frame with the background, or with the frame before; time is media time."""

    def __init__(self, options: MotionOptions, context: StageContext) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        self._labels = (*context.labels, _LABEL)
        self._class = len(context.labels)
        self._wh = (0, 0)
        self._small = (0, 0)
        self._watched = np.empty((0, 0), np.uint8)
        self._differ = _Difference(self._cv2, options)
        self._now_ns = 0
        self._state = _Moving(int(options.min_s * 1e9), int(options.still_s * 1e9))

    def __call__(self, scene: Scene) -> Scene:
        """The scene with what moves as further objects, and an event when it begins or ends."""
        media_ns, passed_ns = scene.frame.media_ns, scene.frame.media_ns - self._now_ns
        anew = scene.frame.wh != self._wh or not 0 <= passed_ns <= _GAP_NS
        if anew:
            self._lay_out(scene.frame.wh)
        self._now_ns = media_ns
        moving = self._moving(scene.frame.image, 0.0 if anew else passed_ns / 1e9, anew=anew)
        boxes, area = self._areas(moving)
        found = Detections(boxes, np.ones(len(boxes), np.float32), np.full(len(boxes), self._class, np.int32))
        events = tuple(self._told(len(boxes) > 0, area, media_ns))
        return replace(
            scene,
            detections=scene.detections.joined(found),
            events=scene.events + events,
            labels=self._labels,
            measures={**scene.measures, _LABEL: round(area, 4)},
        )

    def _lay_out(self, wh: tuple[int, int]) -> None:
        """Another size of picture: its small size, and which part of that is watched."""
        self._wh = wh
        width = min(self._options.width_px, wh[0])
        self._small = (width, max(1, round(wh[1] * width / wh[0])))
        self._watched = np.zeros(self._small[::-1], np.uint8)
        self._paint(self._options.zone or ((0, 0), (1, 0), (1, 1), (0, 1)), 255)
        for polygon in self._options.ignore.values():
            self._paint(polygon, 0)

    def _paint(self, polygon: tuple[Point, ...], value: int) -> None:
        corners = np.round(in_pixels(polygon, self._small)).astype(np.int32)
        self._cv2.fillPoly(self._watched, [corners], value)

    def _moving(self, image: NDArray[np.uint8], passed_s: float, *, anew: bool) -> NDArray[np.uint8]:
        """What moves in the small picture: 255, else 0."""
        cv2 = self._cv2
        gray = cv2.cvtColor(cv2.resize(image, self._small, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        gray = cv2.GaussianBlur(gray, (5, 5), 0)
        moving = self._differ(gray, passed_s, anew=anew)
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        moving &= self._watched
        most = self._options.max_area * np.count_nonzero(self._watched)
        if np.count_nonzero(moving) > most:
            self._differ(gray, 0.0, anew=True)
            moving[:] = 0
        return np.asarray(moving)

    def _areas(self, moving: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Boxes (n, 4) in source pixels around the larger moving areas, and their part of what is watched."""
        cv2 = self._cv2
        if not moving.any():
            return np.empty((0, 4), np.float32), 0.0
        reach = max(1, round(self._options.merge * self._small[0] / 2))
        near = cv2.dilate(moving, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(near)
        sizes = np.bincount(numbers[moving > 0], minlength=count)
        large = np.flatnonzero(sizes >= max(1.0, self._options.min_area * moving.size))
        left, top = stats[large, cv2.CC_STAT_LEFT] + reach, stats[large, cv2.CC_STAT_TOP] + reach
        right = stats[large, cv2.CC_STAT_LEFT] + stats[large, cv2.CC_STAT_WIDTH] - reach
        bottom = stats[large, cv2.CC_STAT_TOP] + stats[large, cv2.CC_STAT_HEIGHT] - reach
        # At the picture's edge there was no room to grow: take back only what was added.
        wide, tall = self._small
        touches = stats[large, cv2.CC_STAT_LEFT] == 0, stats[large, cv2.CC_STAT_TOP] == 0
        left, top = np.where(touches[0], 0, left), np.where(touches[1], 0, top)
        right = np.where(right + reach == wide, wide, right)
        bottom = np.where(bottom + reach == tall, tall, bottom)
        scale = np.array([self._wh[0] / wide, self._wh[1] / tall] * 2)
        boxes = np.stack([left, top, right, bottom], axis=1) * scale
        order = np.argsort(-sizes[large], kind="stable")
        area = float(sizes[large].sum()) / max(1, int(np.count_nonzero(self._watched)))
        return boxes[order].astype(np.float32), area

    def _told(self, moves: bool, area: float, media_ns: int) -> Iterator[MotionChanged]:
        if self._state.changed(moves, media_ns):
            yield MotionChanged(moving=moves, area=round(float(area), 4))


class _Difference:
    """Which pixels of a small gray picture differ from what they should be."""

    def __init__(self, cv2: Any, options: MotionOptions) -> None:
        self._cv2 = cv2
        self._options = options
        self._factor = 4.0 ** (1.0 - 2.0 * options.sensitivity)
        self._before: NDArray[np.uint8] | None = None
        self._model: Any = None

    def __call__(self, gray: NDArray[np.uint8], passed_s: float, *, anew: bool) -> NDArray[np.uint8]:
        """255 where it differs; nothing does when begun `anew`."""
        if self._options.method == "difference":
            before, self._before = self._before, gray
            if anew or before is None:
                return np.zeros_like(gray)
            apart = self._cv2.absdiff(gray, before)
            return np.asarray(self._cv2.threshold(apart, _LEVELS * self._factor**0.5, 255, self._cv2.THRESH_BINARY)[1])
        if anew or self._model is None:
            self._model = self._cv2.createBackgroundSubtractorMOG2(
                varThreshold=_VARIANCES * self._factor, detectShadows=False
            )
            self._model.apply(gray, learningRate=1.0)
            return np.zeros_like(gray)
        # What is new is background once it has a tenth of the weight (MOG2's backgroundRatio is 0.9): after `learn_s`,
        # however many frames those were.
        rate = -np.expm1(np.log(0.9) * passed_s / self._options.learn_s)
        return np.asarray(self._model.apply(gray, learningRate=float(rate)))


class _Moving:
    """Whether something moves, told once it has been so for a while; at the start nothing does."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self._wait_ns = {True: begin_ns, False: end_ns}
        self._told = False
        self._is = False
        self._since_ns = 0

    def changed(self, moves: bool, media_ns: int) -> bool:
        """Whether there is something new to tell."""
        if moves is not self._is or media_ns < self._since_ns:  # or a media clock that began anew
            self._is, self._since_ns = moves, media_ns
        if self._is is self._told or media_ns - self._since_ns < self._wait_ns[self._is]:
            return False
        self._told = self._is
        return True
