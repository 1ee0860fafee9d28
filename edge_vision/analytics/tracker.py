"""Gives objects a number that they keep from frame to frame (ByteTrack, arXiv:2110.06864)."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.association import Assigner, overlaps
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.kalman import Kalman
from edge_vision.core.detections import Detections
from edge_vision.core.options import Fraction, Integer, Seconds
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_OTHER_CLASS: Final = 0.1
"""What it costs a track to be matched with an object of another class: detectors take a van for a truck and back."""
_TWIN: Final = 0.85
"""Objects that overlap so much, of whatever class, are one object seen twice."""


class TrackerOptions(StageOptions):
    """Follows objects from frame to frame; only those it is sure of are handed on, each with its `track_id`."""

    kind: Literal["tracker"]
    high: Fraction = Field(0.5, description="Objects of this score or more are matched first, and can begin a track.")
    low: Fraction = Field(0.1, description="Objects between `low` and `high` can only go on with a track.")
    min_iou: Fraction = Field(0.2, description="Least overlap of an object with where its track should be.")
    min_hits: Integer = Field(3, ge=1, le=100, description="Frames in which an object must be seen to be tracked.")
    max_lost_s: Seconds = Field(1.0, description="How long a track waits for its object, in media time.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes."""
        return frozenset({"box"})

    def gives(self, model: frozenset[Fact]) -> frozenset[Fact]:
        """A number for each object."""
        return model | {"track_id"}

    @model_validator(mode="after")
    def _low_below_high(self) -> "TrackerOptions":
        if self.low > self.high:
            msg = f"low {self.low:g} is more than high {self.high:g}"
            raise ValueError(msg)
        return self


class Tracker:
    """The tracks of one camera; time is media time, so that a recording gives the same tracks at any speed.

    A new track is on trial until `min_hits` frames in a row have confirmed it; numbers are given then, from 1.
    """

    def __init__(self, options: TrackerOptions, context: StageContext) -> None:
        del context
        self._options = options
        self._assign = Assigner()
        self._kalman = Kalman()
        self._ids = np.empty(0, np.int32)
        """0 while on trial."""
        self._hits = np.empty(0, np.int32)
        self._classes = np.empty(0, np.int32)
        self._lead = np.empty(0, np.float32)
        """By how much confidence the class of a track is ahead of all others."""
        self._seen_ns = np.empty(0, np.int64)
        self._now_ns = 0
        self._last_id = 0

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the objects that are tracked, numbered, each of the class it was seen as most."""
        return replace(scene, detections=self.update(scene.detections, scene.frame.media_ns))

    def update(self, seen: Detections, media_ns: int) -> Detections:
        """Take in the objects of one frame; rows come back in the order they had."""
        before_ns = self._now_ns
        self._let_pass(media_ns)
        boxes = seen.xyxy.astype(np.float64)
        strong = np.flatnonzero(seen.confidence >= self._options.high)
        strong = _without_twins(boxes, seen.confidence, strong)
        weak = np.flatnonzero((seen.confidence >= self._options.low) & (seen.confidence < self._options.high))
        known = self._ids > 0
        row_of = np.full(len(seen), -1, np.intp)
        # Strong objects first, with every known track; weak ones then with those that were seen a frame ago, since
        # a weak box where a lost track ought to be is more likely something else; trials come last.
        self._match(np.flatnonzero(known), strong, seen, boxes, row_of)
        fresh = np.flatnonzero(known & (self._seen_ns == before_ns))
        self._match(np.setdiff1d(fresh, row_of), weak, seen, boxes, row_of)
        self._match(np.flatnonzero(~known), strong[row_of[strong] < 0], seen, boxes, row_of)
        matched = np.flatnonzero(row_of >= 0)
        rows = row_of[matched]
        self._kalman.update(rows, boxes[matched])
        self._hits[rows] += 1
        self._seen_ns[rows] = media_ns
        self._vote(rows, seen.class_id[matched], seen.confidence[matched])
        fresh = strong[row_of[strong] < 0]
        row_of[fresh] = len(self._ids) + np.arange(len(fresh))
        self._begin(fresh, seen, boxes, media_ns)
        self._confirm()
        tracked = np.flatnonzero(row_of >= 0)
        tracked = tracked[self._ids[row_of[tracked]] > 0]
        rows = row_of[tracked]
        return replace(seen.where(tracked), track_id=self._ids[rows], class_id=self._classes[rows])

    def _let_pass(self, media_ns: int) -> None:
        """Move every track on, and end those that were lost for too long; trials end with the first frame without them.

        A clock that jumps back, as after a reconnection, begins anew.
        """
        passed_s = (media_ns - self._now_ns) / 1e9
        lost_ns = media_ns - self._seen_ns
        on_trial = (self._ids == 0) & (self._seen_ns != self._now_ns)
        keep = (lost_ns <= int(self._options.max_lost_s * 1e9)) & (lost_ns >= 0) & ~on_trial
        self._now_ns = media_ns
        if not keep.all():
            self._kalman.keep(keep)
            self._ids, self._hits, self._classes = self._ids[keep], self._hits[keep], self._classes[keep]
            self._lead, self._seen_ns = self._lead[keep], self._seen_ns[keep]
        self._kalman.predict(max(passed_s, 0.0))

    def _match(
        self,
        rows: NDArray[np.intp],
        objects: NDArray[np.intp],
        seen: Detections,
        boxes: NDArray[np.float64],
        row_of: NDArray[np.intp],
    ) -> None:
        """Give objects to tracks, both by their positions; fills in `row_of`."""
        if len(rows) == 0 or len(objects) == 0:
            return
        overlap = overlaps(self._kalman.boxes()[rows], boxes[objects])
        other = self._classes[rows][:, None] != seen.class_id[objects][None, :]
        cost = np.where(overlap >= self._options.min_iou, 1.0 - overlap + _OTHER_CLASS * other, 2.0)
        taken, given = self._assign(cost, 1.0 + _OTHER_CLASS)
        row_of[objects[given]] = rows[taken]

    def _vote(self, rows: NDArray[np.intp], class_id: NDArray[np.int32], confidence: NDArray[np.float32]) -> None:
        """The class of a track is the one with the most confidence behind it (Boyer and Moore's vote, weighted)."""
        same = class_id == self._classes[rows]
        lead = self._lead[rows] + np.where(same, confidence, -confidence)
        self._classes[rows] = np.where(lead < 0, class_id, self._classes[rows])
        self._lead[rows] = np.abs(lead)

    def _confirm(self) -> None:
        """Number the tracks that have been seen often enough."""
        sure = np.flatnonzero((self._ids == 0) & (self._hits >= self._options.min_hits))
        self._ids[sure] = self._last_id + 1 + np.arange(len(sure), dtype=np.int32)
        self._last_id += len(sure)

    def _begin(self, objects: NDArray[np.intp], seen: Detections, boxes: NDArray[np.float64], media_ns: int) -> None:
        if len(objects) == 0:
            return
        self._kalman.add(boxes[objects])
        count = len(objects)
        self._ids = np.concatenate([self._ids, np.zeros(count, np.int32)])
        self._hits = np.concatenate([self._hits, np.ones(count, np.int32)])
        self._classes = np.concatenate([self._classes, seen.class_id[objects]])
        self._lead = np.concatenate([self._lead, seen.confidence[objects]])
        self._seen_ns = np.concatenate([self._seen_ns, np.full(count, media_ns, np.int64)])


def _without_twins(
    boxes: NDArray[np.float64], confidence: NDArray[np.float32], objects: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The objects without those that are a better one seen again as another class."""
    if len(objects) < 2:  # noqa: PLR2004 - it takes two
        return objects
    ranked = objects[np.argsort(-confidence[objects], kind="stable")]
    twins = np.triu(overlaps(boxes[ranked], boxes[ranked]) > _TWIN, 1)
    return np.sort(ranked[~twins.any(axis=0)])
