"""Tells who comes into zones and leaves them, and whether they are occupied."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, NamedZones
from edge_vision.analytics.stays import Stays
from edge_vision.core.events import Event, PresenceChanged, ZoneEntered, ZoneLeft
from edge_vision.core.options import Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


class ZonesOptions(StageOptions):
    """Tells which tracks enter and leave polygons, and when those become occupied and empty."""

    kind: Literal["zones"]
    zones: NamedZones = Field(default_factory=dict, description="By name three or more points [x, y] in 0..1.")
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to watch; all if not given.")
    anchor: Anchor = Field("bottom", description="The point of the box that has to be inside.")
    min_s: Number = Field(0.0, ge=0, le=3600, description="How long a track must be inside to have entered.")
    patience_s: Number = Field(
        1.0, ge=0, le=3600, description="A track that is outside or not seen for so long has left, in media time."
    )
    presence_s: Number | None = Field(
        None,
        gt=0,
        le=604_800,
        description="Tell when a zone has been occupied, or empty, for so long; not told if not given.",
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks."""
        return frozenset({"track_id"})

    @model_validator(mode="after")
    def _present_somewhere(self) -> "ZonesOptions":
        if self.presence_s is not None and not self.zones:
            msg = f"presence_s {self.presence_s:g} says when a zone is occupied or empty: give zones"
            raise ValueError(msg)
        return self


class Zones:
    """Who is in which zone. A track that flickers, or steps out for a moment, has not left."""

    def __init__(self, options: ZonesOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._stays = Stays(options.zones, options.anchor, options.patience_s)
        self._presence = [_Presence() for _ in options.zones]

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the events of its zones."""
        stays, media_ns = self._stays, scene.frame.media_ns
        if len(stays.areas) == 0:
            return scene
        seen = scene.detections
        stays.follow(seen.where(self._wanted[seen.class_id] & seen.tracked), scene.frame.wh, media_ns)
        events = (*self._entered(media_ns), *self._left(stays.over(media_ns)), *self._presence_changed(media_ns))
        stays.forget(media_ns)
        return replace(scene, events=scene.events + events) if events else scene

    def finish(self, scene: Scene) -> Scene:
        """The scene with who has left, whatever `patience_s`; who is inside in the last frame has not."""
        events = tuple(self._left(self._stays.over(scene.frame.media_ns, at_once=True)))
        return replace(scene, events=scene.events + events)

    def _entered(self, media_ns: int) -> Iterator[Event]:
        stays, tracks = self._stays, self._stays.tracks
        for row, number in stays.lasting(self._options.min_s, media_ns):
            tracks["told"][row, number] = True
            self._presence[number].came(int(tracks["came_ns"][row, number]))
            yield ZoneEntered(
                zone=stays.areas.names[number],
                class_name=self._labels[tracks["class_id"][row]],
                track_id=int(tracks.track_id[row]),
                occupancy=self._occupancy(number),
            )

    def _left(self, over: NDArray[np.intp]) -> Iterator[Event]:
        """The end of those stays (k, 2), for those who had entered."""
        stays, tracks = self._stays, self._stays.tracks
        for row, number in over:
            entered, dwell_s = tracks["told"][row, number], stays.lasted_s(row, number)
            inside_ns = int(tracks["inside_ns"][row, number])
            stays.end(row, number)
            if entered:
                occupancy = self._occupancy(number)
                self._presence[number].went(inside_ns, occupancy)
                yield ZoneLeft(
                    zone=stays.areas.names[number],
                    class_name=self._labels[tracks["class_id"][row]],
                    track_id=int(tracks.track_id[row]),
                    occupancy=occupancy,
                    dwell_s=dwell_s,
                )

    def _occupancy(self, number: int) -> int:
        return int(self._stays.tracks["told"][:, number].sum())

    def _presence_changed(self, media_ns: int) -> Iterator[Event]:
        after_s = self._options.presence_s
        if after_s is None:
            return
        for number, (name, presence) in enumerate(zip(self._stays.areas.names, self._presence, strict=True)):
            if presence.changed(media_ns, int(after_s * 1e9)):
                occupancy = self._occupancy(number)
                yield PresenceChanged(zone=name, present=occupancy > 0, occupancy=occupancy, after_s=after_s)


class _Presence:
    """Whether somebody is in a zone, told once it has been so for a while; at the start nobody knows."""

    def __init__(self) -> None:
        self._told: bool | None = None
        self._present = False
        self._since_ns: int | None = None

    def came(self, came_ns: int) -> None:
        """Somebody has been there since `came_ns`."""
        if not self._present:
            self._present, self._since_ns = True, came_ns

    def went(self, inside_ns: int, occupancy: int) -> None:
        """Somebody was there until `inside_ns`; so many still are."""
        if occupancy == 0:
            self._present, self._since_ns = False, inside_ns

    def changed(self, media_ns: int, after_ns: int) -> bool:
        """Whether there is something new to tell."""
        if self._since_ns is None or media_ns < self._since_ns:  # or a media clock that began anew
            self._since_ns = media_ns
        if self._present is self._told or media_ns - self._since_ns < after_ns:
            return False
        self._told = self._present
        return True
