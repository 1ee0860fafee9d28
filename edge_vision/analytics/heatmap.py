"""Tells from time to time where objects were, on a grid over the picture."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, anchors_of
from edge_vision.core.events import Heatmap
from edge_vision.core.options import Integer, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_LONGEST_STEP_S: Final = 2.0
"""What was seen in a frame is taken to have been so since the last one, but for no longer."""


class HeatmapOptions(StageOptions):
    """Sums up where objects were, and tells it as a small grid."""

    kind: Literal["heatmap"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to sum up; all if not given.")
    anchor: Anchor = Field("bottom", description="The point of the box that counts.")
    columns: Integer = Field(32, ge=1, le=64, description="Cells of the grid across the picture.")
    rows: Integer = Field(18, ge=1, le=36, description="Cells of the grid down the picture.")
    period_s: Number = Field(60.0, ge=1, le=86_400, description="Tell it after every so much media time.")
    half_life_s: Number | None = Field(
        None, gt=0, le=31_536_000, description="What is so long ago counts half; nothing fades if not given."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes, of known classes where some are named."""
        return frozenset({"box", "class"} if self.classes else {"box"})


class Heatmaps:
    """Seconds in which somebody was in each cell: they do not depend on the frame rate. Two at once count twice."""

    def __init__(self, options: HeatmapOptions, context: StageContext) -> None:
        self._options = options
        self._wanted = context.chosen(options.classes)
        self._seconds = np.zeros((options.rows, options.columns))
        self._before_ns: int | None = None
        self._told_ns = 0
        self._since_s = 0.0

    def __call__(self, scene: Scene) -> Scene:
        """The scene with an event when the period is over."""
        options, media_ns, seen = self._options, scene.frame.media_ns, scene.detections
        if self._before_ns is None:
            self._told_ns = media_ns
        passed_s = 0.0 if self._before_ns is None else (media_ns - self._before_ns) / 1e9
        if passed_s < 0:  # a media clock that began anew: what was summed up stays
            self._told_ns += media_ns - (self._before_ns or 0)
            passed_s = 0.0
        self._before_ns = media_ns
        self._since_s += passed_s
        if options.half_life_s is not None:
            self._seconds *= 0.5 ** (passed_s / options.half_life_s)
        chosen = seen.xyxy[self._wanted[seen.class_id] & np.isfinite(seen.xyxy).all(axis=1)]
        if len(chosen):
            cells = (anchors_of(chosen, options.anchor) / scene.frame.wh * [options.columns, options.rows]).astype(int)
            column, row = np.clip(cells, 0, [options.columns - 1, options.rows - 1]).T
            np.add.at(self._seconds, (row, column), min(passed_s, _LONGEST_STEP_S))
        if media_ns - self._told_ns < int(options.period_s * 1e9):
            return scene
        self._told_ns = media_ns
        return replace(scene, events=(*scene.events, self._event()))

    def finish(self, scene: Scene) -> Scene:
        """The scene with the grid of the period that is not over, if it has begun."""
        if self._before_ns is None or self._before_ns <= self._told_ns:
            return scene
        self._told_ns = self._before_ns
        return replace(scene, events=(*scene.events, self._event()))

    def _event(self) -> Heatmap:
        return Heatmap(
            columns=self._options.columns,
            rows=self._options.rows,
            seconds=np.round(self._seconds, 1).ravel().tolist(),
            since_s=round(self._since_s, 3),
            half_life_s=self._options.half_life_s,
        )
