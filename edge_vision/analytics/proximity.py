"""Tells when somebody comes too near to something: people to machines."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.calibration import Floor
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.ground import Ground, GroundOptions, between, distances
from edge_vision.analytics.places import Areas, NamedZones, in_pixels
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.detections import Detections
from edge_vision.core.events import Proximity
from edge_vision.core.options import Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact

_CLEAR: Final = 1.2
"""What is near is apart again at so many times the limit, where `clear_m` is not given."""
_WORN: Final = 0.9
"""What lies within somebody's box to such a part, and is not protected itself, is worn or carried: no machine."""
_MACHINE: Final = 1 << 31
"""In the key of a pair a machine's number stands above those of all tracks."""


class ProximityOptions(GroundOptions):
    """Tells when tracks come nearer than `proximity_m` to others, or to machines that stand somewhere for good."""

    kind: Literal["proximity"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to protect; all if not given.")
    to: tuple[str, ...] | None = Field(
        None, min_length=1, description="Labels to keep away from; if neither these nor machines are given, all others."
    )
    machines: NamedZones = Field(
        default_factory=dict, description="What stands there: by name the polygon of its floor, points [x, y] in 0..1."
    )
    proximity_m: Number | None = Field(None, gt=0, le=1000, description="What is nearer is told; nothing if not given.")
    clear_m: Number | None = Field(
        None, gt=0, le=1000, description="What is farther is apart again; 1.2 times proximity_m if not given."
    )
    min_s: Number = Field(0.5, ge=0, le=3600, description="How long both must have been near to each other.")
    patience_s: Number = Field(
        1.0, ge=0, le=3600, description="What is farther than clear_m, or not seen, for so long is apart again."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks of known classes."""
        return frozenset({"track_id", "class"})

    @property
    def apart_m(self) -> float:
        """`clear_m`, given or not."""
        return self.clear_m if self.clear_m is not None else _CLEAR * (self.proximity_m or 0.0)

    @model_validator(mode="after")
    def _can_be(self) -> "ProximityOptions":
        if self.clear_m is not None and self.proximity_m is not None and self.clear_m < self.proximity_m:
            msg = f"clear_m {self.clear_m:g} is less than proximity_m {self.proximity_m:g}"
            raise ValueError(msg)
        if self.proximity_m is not None and (missing := self._without_height()):
            msg = f"proximity_m needs to know how far {missing} is: give a calibration, or its height in heights_m"
            raise ValueError(msg)
        floor = None if self.calibration is None else Floor(self.calibration)
        for name, polygon in self.machines.items():
            if floor is not None and np.isnan(floor.places(np.array(polygon), (1, 1))).any():
                msg = f"machine {name} reaches above the horizon of the calibration: it must stand on the floor"
                raise ValueError(msg)
        return self

    def _without_height(self) -> str:
        """The first label to protect that can be measured neither by itself nor by what it comes near to."""
        if self.calibration is not None:
            return ""
        written = set(self.heights_m) if "heights_m" in self.model_fields_set else set[str]()
        others = written if self.to is None else set(self.to)
        by_others = not self.machines and others <= set(self.heights_m) and not others <= set(self.classes or ())
        return "" if by_others else next((one for one in self.classes or () if one not in self.heights_m), "")


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Who is how far from what, a row for each pair that is worth a look."""

    key: NDArray[np.int64]
    meters: NDArray[np.float64]
    class_id: NDArray[np.int32]
    other_class: NDArray[np.int32]


class Proximities:
    """Pairs that are near to each other: each approach is told when it has lasted, and again when it is over."""

    def __init__(self, options: ProximityOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._others = context.chosen(options.to)
        if options.to is None:
            self._others = ~self._wanted if options.classes is not None else self._wanted
            self._others = self._others & (not options.machines)
        self._ground = Ground(options, context)
        self._machines = _Machines(options, self._ground)
        self._pairs = TrackRows(
            came_ns=np.zeros((), np.int64),
            near_ns=np.full((), -1, np.int64),
            meters=np.zeros(()),
            least=np.full((), np.inf),
            told=np.zeros((), bool),
            class_id=np.zeros((), np.int32),
            other_class=np.zeros((), np.int32),
        )

    def __call__(self, scene: Scene) -> Scene:
        """The scene with `distance_m` to the nearest machine or other, and an event for who came near or went."""
        seen, media_ns, limit = scene.detections, scene.frame.media_ns, self._options.proximity_m
        if limit is None or seen.track_id is None:
            return scene
        ones = np.flatnonzero(self._wanted[seen.class_id] & seen.tracked)
        nearest = np.full(len(seen), np.nan, np.float32)
        if len(ones):
            pairs, nearest[ones] = self._measure(seen, ones, scene.frame.wh)
            self._follow(pairs, limit, media_ns)
        events = (*self._came(limit, media_ns), *self._went(media_ns, int(self._options.patience_s * 1e9)))
        return replace(scene, detections=seen.with_attribute("distance_m", nearest), events=scene.events + events)

    def finish(self, scene: Scene) -> Scene:
        """The scene with who is apart again, whatever `patience_s`; who is near in the last frame is not."""
        events = tuple(self._went(scene.frame.media_ns, 0))
        return replace(scene, events=scene.events + events)

    def _measure(
        self, seen: Detections, ones: NDArray[np.intp], wh: tuple[int, int]
    ) -> tuple[_Pairs, NDArray[np.float32]]:
        """All pairs that are not farther apart than `clear_m`, and how far each one is from the nearest."""
        assert seen.track_id is not None  # asked by the caller
        others = np.flatnonzero(self._others[seen.class_id] & seen.tracked)
        feet, scales = self._ground.feet(seen, wh), self._ground.scales(seen, wh)
        apart = distances(feet[ones, 1], feet[others][:, [0, 2]]) * between(scales[ones], scales[others])
        worn = _share_inside(seen.xyxy[others], seen.xyxy[ones]) > _WORN
        apart[(ones[:, None] == others) | (worn & ~self._wanted[seen.class_id[others]])] = np.nan
        fixed = self._machines.distances(seen.xyxy[ones], feet[ones, 1], wh) * scales[ones, None]
        meters = np.concatenate([apart, fixed], axis=1)
        track, machines = seen.track_id.astype(np.int64), _MACHINE + np.arange(fixed.shape[1])
        one, other = track[ones][:, None], np.concatenate([track[others], machines])[None, :]
        # Where both could be the one, the pair is told of the older track.
        both = np.concatenate([self._wanted[seen.class_id[others]], np.zeros(fixed.shape[1], bool)])
        told_of = ~(both & self._others[seen.class_id[ones]][:, None] & (other < one))
        near = np.nonzero((meters <= self._options.apart_m) & told_of)
        other_class = np.concatenate([seen.class_id[others], np.full(fixed.shape[1], -1, np.int32)])
        pairs = _Pairs(((one << 32) + other)[near], meters[near], seen.class_id[ones][near[0]], other_class[near[1]])
        return pairs, np.fmin.reduce(meters, axis=1, initial=np.nan).astype(np.float32)

    def _follow(self, pairs: _Pairs, limit: float, media_ns: int) -> None:
        """Take in how far the pairs are apart; those that are new begin where they are near."""
        known = self._pairs
        take = np.isin(pairs.key, known.track_id) | (pairs.meters <= limit)
        rows, fresh = known.see(pairs.key[take], media_ns)
        meters = pairs.meters[take]
        begins = fresh | (known["came_ns"][rows] > media_ns)  # or a media clock that began anew
        known["came_ns"][rows] = np.where(begins, media_ns, known["came_ns"][rows])
        known["near_ns"][rows] = np.where(meters <= limit, media_ns, known["near_ns"][rows])
        known["meters"][rows] = meters
        known["least"][rows] = np.minimum(meters, known["least"][rows])
        known["class_id"][rows], known["other_class"][rows] = pairs.class_id[take], pairs.other_class[take]

    def _came(self, limit: float, media_ns: int) -> Iterator[Proximity]:
        known = self._pairs
        long = known["near_ns"] - known["came_ns"] >= int(self._options.min_s * 1e9)
        for row in np.flatnonzero((known["near_ns"] == media_ns) & ~known["told"] & long).tolist():
            known["told"][row] = True
            yield self._event(row, limit, near=True)

    def _went(self, media_ns: int, patience_ns: int) -> Iterator[Proximity]:
        known = self._pairs
        away_ns = media_ns - known.seen_ns
        over = (away_ns > patience_ns) | (away_ns < 0)
        for row in np.flatnonzero(over & known["told"]).tolist():
            yield self._event(row, self._options.apart_m, near=False)
        known.forget(over)

    def _event(self, row: int, limit: float, *, near: bool) -> Proximity:
        known, other_class = self._pairs, int(self._pairs["other_class"][row])
        one, other = divmod(int(known.track_id[row]), 1 << 32)
        track = other_class >= 0
        return Proximity(
            near=near,
            class_name=self._labels[known["class_id"][row]],
            track_id=one,
            other_class=self._labels[other_class] if track else None,
            other_track_id=other if track else None,
            machine=None if track else self._machines.names[other - _MACHINE],
            distance_m=round(float(known["meters"][row]), 3),
            least_m=round(float(known["least"][row]), 3),
            limit_m=limit,
            lasted_s=round(float(known.seen_ns[row] - known["came_ns"][row]) / 1e9, 3),
        )


def _share_inside(xyxy: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Which part of each box (m, 4) lies inside each of `boxes` (n, 4), as (n, m)."""
    least = np.maximum(xyxy[None, :, :2], boxes[:, None, :2])
    most = np.minimum(xyxy[None, :, 2:], boxes[:, None, 2:])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    return np.asarray(np.maximum(most - least, 0).prod(axis=2) / np.maximum(area, np.float32(1.0)))


class _Machines:
    """Polygons on the floor that people are to keep away from."""

    def __init__(self, options: ProximityOptions, ground: Ground) -> None:
        self.names = tuple(options.machines)
        self._polygons = tuple(options.machines.values())
        self._areas = Areas(options.machines, "bottom")
        self._ground = ground
        self._wh = (0, 0)
        self._sides = np.empty((0, 2, 2))
        self._first = np.cumsum([0, *[len(polygon) for polygon in self._polygons]])[:-1]

    def distances(
        self, xyxy: NDArray[np.float32], feet: NDArray[np.float64], wh: tuple[int, int]
    ) -> NDArray[np.float64]:
        """How far feet (n, 2) are from each machine (n, m), in the ground's unit: 0 inside."""
        if not self.names:
            return np.empty((len(feet), 0))
        if wh != self._wh:
            self._wh = wh
            corners = [self._ground.places(in_pixels(polygon, wh), wh) for polygon in self._polygons]
            sides = [np.stack([polygon, np.roll(polygon, -1, axis=0)], axis=1) for polygon in corners]
            self._sides = np.concatenate(sides)
        nearest = np.minimum.reduceat(distances(feet, self._sides), self._first, axis=1)
        return np.where(self._areas.within(xyxy, wh), 0.0, nearest)
