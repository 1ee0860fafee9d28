"""Tells who stays in a zone for too long."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, NamedZones
from edge_vision.analytics.stays import Stays
from edge_vision.core.events import DwellExceeded
from edge_vision.core.options import Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


class DwellOptions(StageOptions):
    """Measures how long tracks stay in zones: attribute `dwell_s`, and an event where that is too long."""

    kind: Literal["dwell"]
    zones: NamedZones = Field(default_factory=dict, description="By name three or more points [x, y] in 0..1.")
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to watch; all if not given.")
    anchor: Anchor = Field("bottom", description="The point of the box that has to be inside.")
    limit_s: Number | None = Field(
        None, gt=0, le=604_800, description="Longest stay, in media time; nothing is told if not given."
    )
    patience_s: Number = Field(
        1.0, ge=0, le=3600, description="A stay is over when the track is outside or not seen for so long."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks."""
        return frozenset({"track_id"})

    @model_validator(mode="after")
    def _stays_somewhere(self) -> "DwellOptions":
        if self.limit_s is not None and not self.zones:
            msg = f"limit_s {self.limit_s:g} says how long a stay in a zone may be: give zones"
            raise ValueError(msg)
        return self


class Dwell:
    """For how long everybody has been where he is. One event per stay, however long it gets."""

    def __init__(self, options: DwellOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._stays = Stays(options.zones, options.anchor, options.patience_s)

    def __call__(self, scene: Scene) -> Scene:
        """The scene with `dwell_s` of those inside, of the longest stay where zones overlap."""
        stays, media_ns = self._stays, scene.frame.media_ns
        if len(stays.areas) == 0:
            return scene
        seen = scene.detections
        wanted = self._wanted[seen.class_id] & seen.tracked
        stay_s = stays.follow(seen.where(wanted), scene.frame.wh, media_ns)
        longest = np.full(len(seen), np.nan, np.float32)
        longest[wanted] = np.fmax.reduce(stay_s, axis=1)
        events = tuple(self._exceeded(media_ns))
        for row, number in stays.over(media_ns):
            stays.end(row, number)
        stays.forget(media_ns)
        return replace(scene, detections=seen.with_attribute("dwell_s", longest), events=scene.events + events)

    def _exceeded(self, media_ns: int) -> Iterator[DwellExceeded]:
        stays, tracks, limit_s = self._stays, self._stays.tracks, self._options.limit_s
        if limit_s is None:
            return
        for row, number in stays.lasting(limit_s, media_ns):
            tracks["told"][row, number] = True
            yield DwellExceeded(
                zone=stays.areas.names[number],
                class_name=self._labels[tracks["class_id"][row]],
                track_id=int(tracks.track_id[row]),
                dwell_s=stays.lasted_s(row, number),
                limit_s=limit_s,
            )
