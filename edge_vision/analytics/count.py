"""Tells how many objects there are, in the picture or in zones, when that changes and from time to time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, Areas, NamedZones
from edge_vision.core.detections import Detections
from edge_vision.core.events import Count
from edge_vision.core.options import Number, Seconds
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_SEEN: Final = 3


class CountOptions(StageOptions):
    """Tells how many objects are seen: in each zone, or in the whole picture where no zones are given."""

    kind: Literal["count"]
    zones: NamedZones = Field(default_factory=dict, description="By name three or more points [x, y] in 0..1.")
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to count; all if not given.")
    anchor: Anchor = Field("center", description="The point of the box that has to be inside.")
    stable_s: Number = Field(
        0.5,
        ge=0,
        le=3600,
        description="A number counts when it has stood for so long, and in three frames; 0: at once.",
    )
    period_s: Seconds | None = Field(None, description="Tell it again after so long, also when nothing changed.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes of known classes."""
        return frozenset({"box", "class"})


class Counter:
    """How many there are of each class; a number that flickers is told when it has come to rest."""

    def __init__(self, options: CountOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._areas = Areas(options.zones, options.anchor)
        self._names: tuple[str | None, ...] = tuple(options.zones) or (None,)
        self._tallies = [_Stable() for _ in self._names]

    def __call__(self, scene: Scene) -> Scene:
        """The scene with an event for each number that changed or is due."""
        seen = scene.detections
        within = self._areas.within(seen.xyxy, scene.frame.wh) if len(self._areas) else np.ones((len(seen), 1), bool)
        events = tuple(self._events(seen, within & self._wanted[seen.class_id][:, None], scene.frame.media_ns))
        return replace(scene, events=scene.events + events) if events else scene

    def _events(self, seen: Detections, within: NDArray[np.bool_], media_ns: int) -> Iterator[Count]:
        stable_ns = int(self._options.stable_s * 1e9)
        period_ns = None if self._options.period_s is None else int(self._options.period_s * 1e9)
        for name, there, tally in zip(self._names, within.T, self._tallies, strict=True):
            now = tuple(np.bincount(seen.class_id[there], minlength=len(self._labels)).tolist())
            if reason := tally.due(now, media_ns, stable_ns, period_ns):
                told = tally.told
                by_class = {label: number for label, number in zip(self._labels, told, strict=True) if number}
                yield Count(zone=name, total=sum(told), by_class=by_class, reason=reason)


class _Stable:
    """A number of each class, and the last one that was told."""

    def __init__(self) -> None:
        self.told: tuple[int, ...] = ()
        self._now: tuple[int, ...] | None = None
        self._since_ns = 0
        self._frames = 0
        """How many in a row had this number."""
        self._told_ns: int | None = None

    def due(
        self, now: tuple[int, ...], media_ns: int, stable_ns: int, period_ns: int | None
    ) -> Literal["change", "period"] | None:
        """Whether there is something to tell, and why; `told` is then what."""
        if now != self._now or media_ns < self._since_ns:  # a media clock that began anew
            self._now, self._since_ns, self._frames = now, media_ns, 0
        self._frames += 1
        # Between two frames of a camera that drops some, or has just begun, anything may have been.
        rested = media_ns - self._since_ns >= stable_ns and (self._frames >= _SEEN or not stable_ns)
        if now != self.told and rested:
            self.told, self._told_ns = now, media_ns
            return "change"
        if self._told_ns is None or media_ns < self._told_ns:
            self._told_ns = media_ns
        if period_ns is not None and media_ns - self._told_ns >= period_ns:
            self.told, self._told_ns = now, media_ns  # also of a number that never comes to rest
            return "period"
        return None
