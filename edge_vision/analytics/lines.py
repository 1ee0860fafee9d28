"""Counts what goes across lines, by direction and class."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, NamedLines, anchors_of, in_pixels
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.events import Counts, Event, LineCrossed, LineTotals
from edge_vision.core.options import Number, Seconds
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_FORGET_NS: Final = 60_000_000_000
"""A track that was not seen for so long will not come back."""


class LinesOptions(StageOptions):
    """Counts the tracks that go across lines: from the left of a → b to its right is "in", back is "out"."""

    kind: Literal["lines"]
    lines: NamedLines = Field(
        default_factory=dict,
        description="By name two points [x, y] in 0..1; left and right as seen from the first to the second.",
    )
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to count; all if not given.")
    anchor: Anchor = Field("center", description="The point of the box that has to cross.")
    debounce_s: Number = Field(
        1.0, ge=0, le=60, description="A track that comes back across within this media time has not crossed again."
    )

    period_s: Seconds | None = Field(
        None, description="Tell the totals of each line after every such period of media time; not told if not given."
    )

    @model_validator(mode="after")
    def _totals_of_something(self) -> "LinesOptions":
        if self.period_s is not None and not self.lines:
            msg = f"there are no lines to tell the totals of every {self.period_s:g} s: give lines"
            raise ValueError(msg)
        return self

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks."""
        return frozenset({"track_id"})


class Lines:
    """Remembers where each track was seen last; the way from there has gone across a line or not.

    The first way of a track begins where the tracker saw it first, frames before it was sure: what is fast, or seen by
    a camera that drops frames, may have crossed by then.

    The way is a segment, so that a track that was lost for a moment, or is faster than the camera, is counted all the
    same. A first crossing is told at once. The next one of that track on that line waits until `debounce_s` have
    passed, and is told if the track is still across: what trembles on a line is counted once, what turns back twice.
    """

    def __init__(self, options: LinesOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._names = tuple(options.lines)
        self._wh = (0, 0)
        self._ends = np.empty((0, 2, 2))
        count = len(self._names)
        # `crossed` and `told` are crossings so far, in minus out; where they differ, something waits to be told.
        self._tracks = TrackRows(
            place=np.zeros(2),
            crossed=np.zeros(count, np.int32),
            told=np.zeros(count, np.int32),
            told_ns=np.full(count, -(2**62), np.int64),
            class_id=np.zeros((), np.int32),
        )
        self._counts: Counter[tuple[str, str, str | None]] = Counter()
        self._totals: Counter[tuple[str, str, str | None]] = Counter()
        """What had been counted when the period began."""
        self._began_ns: int | None = None
        self._last_id = -1

    def __call__(self, scene: Scene) -> Scene:
        """The scene with an event for each crossing."""
        seen, media_ns = scene.detections, scene.frame.media_ns
        if not self._names:
            return scene
        if scene.frame.wh != self._wh:
            if self._wh != (0, 0):  # a camera that changed its resolution: everybody stays where he is in the picture
                self._tracks["place"][:] *= np.array(scene.frame.wh) / np.array(self._wh)
            self._wh = scene.frame.wh
            self._ends = np.stack([in_pixels(line, self._wh) for line in self._options.lines.values()])
        if seen.track_id is not None and len(seen):
            points = anchors_of(seen.xyxy, self._options.anchor)
            first = points if seen.began is None else anchors_of(seen.began, self._options.anchor)
            there = np.isfinite(points).all(axis=1) & seen.tracked
            if there.all():
                self._follow(seen.track_id, seen.class_id, first, points, media_ns)
            else:
                self._follow(seen.track_id[there], seen.class_id[there], first[there], points[there], media_ns)
        events = (*self._tell(media_ns, int(self._options.debounce_s * 1e9)), *self._period_over(media_ns))
        tracks = self._tracks
        tracks.forget(
            (np.abs(media_ns - tracks.seen_ns) > _FORGET_NS) & (tracks["crossed"] == tracks["told"]).all(axis=1)
        )
        return replace(scene, events=scene.events + events) if events else scene

    def finish(self, scene: Scene) -> Scene:
        """The scene with the crossings that wait for `debounce_s`, and the totals if there were any since the last."""
        media_ns = scene.frame.media_ns
        events: list[Event] = list(self._tell(media_ns, 0))
        if self._began_ns is not None and self._counts != self._totals:
            events += self._totals_of(media_ns - self._began_ns)
        return replace(scene, events=(*scene.events, *events))

    def _follow(
        self,
        track_id: NDArray[np.int32],
        class_id: NDArray[np.int32],
        first: NDArray[np.float32],
        points: NDArray[np.float32],
        media_ns: int,
    ) -> None:
        """Let tracks go to `points`; the way of one that was never seen begins at `first`."""
        if not len(track_id):
            return
        tracks = self._tracks
        rows, fresh = tracks.see(track_id, media_ns)
        # Numbers rise: a lower one that is not known was forgotten, and came long before.
        begun = np.where((track_id > self._last_id)[:, None], first, points)
        self._last_id = max(self._last_id, int(track_id.max()))
        before = np.where(fresh[:, None], begun, tracks["place"][rows])
        tracks["crossed"][rows] += crossings(before, points, self._ends)
        tracks["place"][rows] = points
        tracks["class_id"][rows] = class_id

    def _tell(self, media_ns: int, debounce_ns: int) -> Iterator[LineCrossed]:
        tracks = self._tracks
        ripe = np.abs(media_ns - tracks["told_ns"]) >= debounce_ns
        for row, number in zip(*np.nonzero((tracks["crossed"] != tracks["told"]) & ripe), strict=True):
            step = int(np.sign(tracks["crossed"][row, number] - tracks["told"][row, number]))
            tracks["told"][row, number] += step
            tracks["told_ns"][row, number] = media_ns
            class_id = int(tracks["class_id"][row])
            if self._wanted[class_id]:
                yield self._event(self._names[number], "in" if step > 0 else "out", class_id, int(tracks.track_id[row]))

    def _event(self, line: str, direction: Literal["in", "out"], class_id: int, track_id: int) -> LineCrossed:
        label = self._labels[class_id]
        for of in (None, label):
            self._counts[line, direction, of] += 1
        return LineCrossed(
            line=line,
            direction=direction,
            class_name=label,
            track_id=track_id,
            counts=self._both_ways(line, None),
            class_counts=self._both_ways(line, label),
        )

    def _both_ways(self, line: str, label: str | None) -> Counts:
        """How many went across so far, of a class or of all."""
        return {way: self._counts[line, way, label] for way in ("in", "out")}

    def _period_over(self, media_ns: int) -> Iterator[Event]:
        """The totals of every line, when a period is over."""
        if self._options.period_s is None:
            return
        if self._began_ns is None or media_ns < self._began_ns:  # or a media clock that began anew
            self._began_ns = media_ns
        passed_ns, period_ns = media_ns - self._began_ns, int(self._options.period_s * 1e9)
        if passed_ns < period_ns:
            return
        whole_ns = passed_ns // period_ns * period_ns  # one after a pause of several, so that the next ends in time
        self._began_ns += whole_ns
        yield from self._totals_of(whole_ns)

    def _totals_of(self, period_ns: int) -> Iterator[LineTotals]:
        """The totals of every line, after a period of so long."""
        for line in self._names:
            seen = sorted({label for name, _, label in self._counts if name == line and label is not None})
            counts = self._both_ways(line, None)
            yield LineTotals(
                line=line,
                period_s=period_ns / 1e9,
                period={way: count - self._totals[line, way, None] for way, count in counts.items()},
                counts=counts,
                by_class={label: self._both_ways(line, label) for label in seen},
            )
        self._totals = self._counts.copy()


def crossings(
    before: NDArray[np.floating], now: NDArray[np.floating], lines: NDArray[np.floating]
) -> NDArray[np.int32]:
    """(n, m): how the ways from points (n, 2) to points (n, 2) go across segments (m, 2, 2).

    1 from the left of a segment to its right, as seen when looking along it in a picture whose y points down; -1
    back; 0 else. A point on the segment is on its right, so that whoever stops there crosses once.
    """
    start, end = lines[None, :, 0], lines[None, :, 1]
    was = _turn(end - start, before[:, None] - start) >= 0
    is_now = _turn(end - start, now[:, None] - start) >= 0
    way = (now - before)[:, None]
    between = (_turn(way, start - before[:, None]) >= 0) != (_turn(way, end - before[:, None]) >= 0)
    return np.asarray(between * (is_now.astype(np.int32) - was.astype(np.int32)), np.int32)


def _turn(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """The cross product of vectors (..., 2): positive where `other` points to the right of `one`, y down."""
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])
