"""Tells when a place gets crowded, and when it is no longer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from edge_vision.analytics.calibration import CalibrationOptions, Floor
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, Areas, NamedZones
from edge_vision.core.events import Crowd
from edge_vision.core.options import Integer, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


class CrowdOptions(StageOptions):
    """Tells when there are too many in a zone, or in the whole picture where no zones are given."""

    kind: Literal["crowd"]
    zones: NamedZones = Field(default_factory=dict, description="By name three or more points [x, y] in 0..1.")
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to count; all if not given.")
    anchor: Anchor = Field("bottom", description="The point of the box that has to be inside.")
    limit: Integer | None = Field(None, ge=0, le=100_000, description="How many there may be.")
    max_density: Number | None = Field(
        None, gt=0, le=100, description="How many there may be per square meter; needs zones and a calibration."
    )
    calibration: CalibrationOptions | None = Field(None, description="Points of the floor that were measured.")
    min_s: Number = Field(2.0, ge=0, le=3600, description="How long it must be crowded, or not, to be told.")
    patience_s: Number = Field(1.0, ge=0, le=3600, description="It is crowded across so long a moment with fewer.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes, of known classes where some are named."""
        return frozenset({"box", "class"} if self.classes else {"box"})

    @model_validator(mode="after")
    def _density_has_an_area(self) -> "CrowdOptions":
        if self.max_density is None:
            return self
        if self.calibration is None or not self.zones:
            missing = "zones" if self.calibration is not None else "a calibration"
            msg = f"max_density needs {missing}: it is how many stand on a square meter of floor"
            raise ValueError(msg)
        floor = Floor(self.calibration)
        for name, polygon in self.zones.items():
            if np.isnan(floor.area_m2(polygon)):
                msg = f"zone {name} reaches above the horizon of the calibration: its floor has no area"
                raise ValueError(msg)
        return self


class Crowds:
    """Whether each zone is crowded; what flickers for less than `patience_s` is one crowd."""

    def __init__(self, options: CrowdOptions, context: StageContext) -> None:
        self._options = options
        self._wanted = context.chosen(options.classes)
        self._areas = Areas(options.zones, options.anchor)
        self._names: tuple[str | None, ...] = tuple(options.zones) or (None,)
        count = len(self._names)
        self._square_m = np.full(count, np.nan)
        if options.calibration is not None and options.zones:
            floor = Floor(options.calibration)
            self._square_m = np.array([floor.area_m2(polygon) for polygon in options.zones.values()])
        self._since_ns = np.zeros(count, np.int64)
        self._over_ns = np.full(count, -1, np.int64)
        self._was_over = np.zeros(count, bool)
        self._told = np.zeros(count, bool)

    def __call__(self, scene: Scene) -> Scene:
        """The scene with an event for each zone that has become crowded or has ceased to be."""
        options, seen, media_ns = self._options, scene.detections, scene.frame.media_ns
        if options.limit is None and options.max_density is None:
            return scene
        wanted = self._wanted[seen.class_id]
        if len(self._areas):
            totals = (self._areas.within(seen.xyxy, scene.frame.wh) & wanted[:, None]).sum(axis=0)
        else:
            totals = np.array([wanted.sum()])
        over = np.zeros(len(totals), bool)
        if options.limit is not None:
            over |= totals > options.limit
        if options.max_density is not None:
            over |= totals / self._square_m > options.max_density
        events = tuple(self._changed(totals, over, media_ns))
        return replace(scene, events=scene.events + events) if events else scene

    def _changed(self, totals: np.ndarray, over: np.ndarray, media_ns: int) -> Iterator[Crowd]:
        options = self._options
        gap_ns = media_ns - self._over_ns
        broken = ~self._was_over & ((self._over_ns < 0) | (gap_ns > int(options.patience_s * 1e9)))
        self._was_over = over
        # A negative gap is a media clock that began anew.
        self._since_ns = np.where((over & broken) | (gap_ns < 0), media_ns, self._since_ns)
        self._over_ns = np.where(over, media_ns, np.where(gap_ns < 0, media_ns, self._over_ns))
        least_ns = int(options.min_s * 1e9)
        crowded = over & ~self._told & (media_ns - self._since_ns >= least_ns)
        calm_ns = max(least_ns, int(options.patience_s * 1e9) + 1)
        cleared = ~over & self._told & (media_ns - self._over_ns >= calm_ns)
        self._told = (self._told | crowded) & ~cleared
        for number in np.flatnonzero(crowded | cleared).tolist():
            square_m = float(self._square_m[number])
            yield Crowd(
                zone=self._names[number],
                crowded=bool(crowded[number]),
                total=int(totals[number]),
                limit=options.limit,
                density=None if np.isnan(square_m) else round(float(totals[number]) / square_m, 3),
                max_density=options.max_density,
            )
