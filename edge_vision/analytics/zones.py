"""Tells who comes into zones and leaves them, and whether they are occupied."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, NamedZones, anchors_of, in_pixels, inside, within_picture
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.detections import Detections
from edge_vision.core.events import Event, PresenceChanged, ZoneEntered, ZoneLeft
from edge_vision.core.options import Number, Seconds
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
    presence_s: Seconds | None = Field(
        None, description="Tell when a zone has been occupied, or empty, for so long; not told if not given."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks."""
        return frozenset({"track_id"})


class Zones:
    """Who is in which zone. A track that flickers, or steps out for a moment, has not left."""

    def __init__(self, options: ZonesOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._names = tuple(options.zones)
        self._wh = (0, 0)
        self._polygons: list[np.ndarray] = []
        count = len(self._names)
        self._tracks = TrackRows(
            came_ns=np.zeros(count, np.int64),
            inside_ns=np.full(count, -1, np.int64),
            entered=np.zeros(count, bool),
            class_id=np.zeros((), np.int32),
        )
        self._presence = [_Presence() for _ in self._names]

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the events of its zones."""
        if not self._names:
            return scene
        if scene.frame.wh != self._wh:
            self._wh = scene.frame.wh
            self._polygons = [in_pixels(polygon, self._wh) for polygon in self._options.zones.values()]
        media_ns = scene.frame.media_ns
        self._look(scene.detections, media_ns)
        events = (*self._entered(media_ns), *self._left(media_ns), *self._presence_changed(media_ns))
        tracks = self._tracks
        tracks.forget((tracks["inside_ns"] < 0).all(axis=1) & (tracks.seen_ns != media_ns))
        return replace(scene, events=scene.events + events) if events else scene

    def _look(self, seen: Detections, media_ns: int) -> None:
        """Note which tracks are inside now."""
        if seen.track_id is None or len(seen) == 0:
            return
        seen = seen.where(self._wanted[seen.class_id])
        tracks = self._tracks
        assert seen.track_id is not None  # the same rows of a column that is there
        rows, _ = tracks.see(seen.track_id, media_ns)
        points = within_picture(anchors_of(seen.xyxy, self._options.anchor), self._wh)
        within = np.stack([inside(points, polygon) for polygon in self._polygons], axis=1)
        new = within & (tracks["inside_ns"][rows] < 0)
        tracks["came_ns"][rows] = np.where(new, media_ns, tracks["came_ns"][rows])
        tracks["inside_ns"][rows] = np.where(within, media_ns, tracks["inside_ns"][rows])
        tracks["class_id"][rows] = seen.class_id

    def _entered(self, media_ns: int) -> Iterator[Event]:
        tracks = self._tracks
        long = tracks["inside_ns"] - tracks["came_ns"] >= int(self._options.min_s * 1e9)
        for row, number in np.argwhere((tracks["inside_ns"] == media_ns) & ~tracks["entered"] & long):
            tracks["entered"][row, number] = True
            yield ZoneEntered(
                zone=self._names[number],
                class_name=self._labels[tracks["class_id"][row]],
                track_id=int(tracks.track_id[row]),
                occupancy=self._occupancy(number),
            )

    def _left(self, media_ns: int) -> Iterator[Event]:
        tracks = self._tracks
        away_ns = np.abs(media_ns - tracks["inside_ns"])  # also across a media clock that began anew
        gone = (tracks["inside_ns"] >= 0) & (away_ns > int(self._options.patience_s * 1e9))
        for row, number in np.argwhere(gone):
            entered, inside_ns = tracks["entered"][row, number], tracks["inside_ns"][row, number]
            tracks["entered"][row, number], tracks["inside_ns"][row, number] = False, -1
            if entered:
                yield ZoneLeft(
                    zone=self._names[number],
                    class_name=self._labels[tracks["class_id"][row]],
                    track_id=int(tracks.track_id[row]),
                    occupancy=self._occupancy(number),
                    dwell_s=max(round(float(inside_ns - tracks["came_ns"][row, number]) / 1e9, 3), 0.0),
                )

    def _occupancy(self, number: int) -> int:
        return int(self._tracks["entered"][:, number].sum())

    def _presence_changed(self, media_ns: int) -> Iterator[Event]:
        after_s = self._options.presence_s
        if after_s is None:
            return
        for number, (name, presence) in enumerate(zip(self._names, self._presence, strict=True)):
            occupancy = self._occupancy(number)
            if presence.changed(occupancy > 0, media_ns, int(after_s * 1e9)):
                yield PresenceChanged(zone=name, present=occupancy > 0, occupancy=occupancy, after_s=after_s)


class _Presence:
    """Whether somebody is there, told once it has been so for a while; at the start nobody knows."""

    def __init__(self) -> None:
        self._told: bool | None = None
        self._is: bool | None = None
        self._since_ns = 0

    def changed(self, present: bool, media_ns: int, after_ns: int) -> bool:
        """Whether there is something new to tell."""
        if present is not self._is or media_ns < self._since_ns:  # or a media clock that began anew
            self._is, self._since_ns = present, media_ns
        if self._is is self._told or media_ns - self._since_ns < after_ns:
            return False
        self._told = self._is
        return True
