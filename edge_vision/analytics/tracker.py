"""Gives objects a number that they keep from frame to frame (ByteTrack, arXiv:2110.06864)."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.appearance import Looks, has_look
from edge_vision.analytics.association import Assigner, Floats, Indices, near, touching
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.kalman import Kalman
from edge_vision.core.detections import Detections
from edge_vision.core.options import Fraction, Integer, Number, Seconds
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_SAME_CLASS: Final = 0.1
"""What an object of a track's own class has ahead of one of another: detectors take a van for a truck and back."""
_TWIN: Final = 0.85
"""Objects that overlap so much, of whatever class, are one object seen twice."""


_GATE: Final = 9.4877
"""Squared Mahalanobis distance up to which a box may be where a track should be: 95 % of chi-squared with four degrees
of freedom, as in Deep SORT (arXiv:1703.07402)."""


class TrackerOptions(StageOptions):
    """Follows objects from frame to frame; only those it is sure of are handed on, each with its `track_id`."""

    kind: Literal["tracker"]
    high: Fraction = Field(0.5, description="Objects of this score or more are matched first, and can begin a track.")
    low: Fraction = Field(0.1, description="Objects between `low` and `high` can only go on with a track.")
    min_iou: Fraction = Field(0.2, description="Least overlap of an object with where its track should be.")
    reach: Number = Field(
        0.0,
        ge=0,
        le=4,
        description="By how much of their longer side boxes are grown before their overlap is taken: for what is small "
        "and moves by more than its own size from frame to frame.",
    )
    min_hits: Integer = Field(3, ge=1, le=100, description="Frames in which an object must be seen to be tracked.")
    max_lost_s: Seconds = Field(1.0, description="How long a track waits for its object, in media time.")
    appearance: Fraction = Field(
        0.25,
        description="Up to which distance (one minus the cosine of the embeddings) an object looks like a track, where "
        "a model before the tracker describes looks; from twice as far on it is somebody else. 0 leaves looks out.",
    )

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
        self._looks = Looks()
        self._ids = np.empty(0, np.int32)
        """0 while on trial."""
        self._hits = np.empty(0, np.int32)
        self._classes = np.empty(0, np.int32)
        self._lead = np.empty(0, np.float32)
        """By how much confidence the class of a track is ahead of all others."""
        self._seen_ns = np.empty(0, np.int64)
        self._began = np.empty((0, 4), np.float32)
        self._now_ns = 0
        self._last_id = 0

    def retune(self, options: TrackerOptions) -> None:
        """Another confidence from the next frame on; the tracks stay."""
        self._options = options

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the objects that are tracked, numbered, each of the class it was seen as most."""
        return replace(scene, detections=self.update(scene.detections, scene.frame.media_ns))

    def update(self, seen: Detections, media_ns: int) -> Detections:
        """Take in the objects of one frame; rows come back in the order they had."""
        before_ns = self._now_ns
        self._let_pass(media_ns)
        objects = _Objects(seen, self._options)
        if objects.looks is not None:
            self._looks.begin(objects.looks.shape[1])
        track_of = self._match(objects, before_ns)
        matched = np.flatnonzero(track_of >= 0)
        if len(matched):
            self._go_on(track_of[matched], objects, matched, media_ns)
        fresh = np.flatnonzero(objects.strong & (track_of < 0))
        if len(fresh):
            track_of[fresh] = len(self._ids) + np.arange(len(fresh))
            self._begin(objects, fresh, media_ns)
        self._confirm()
        track_in_row = np.full(len(seen), -1, np.intp)
        track_in_row[objects.rows] = track_of
        tracked = np.flatnonzero(track_in_row >= 0)
        tracked = tracked[self._ids[track_in_row[tracked]] > 0]
        tracks = track_in_row[tracked]
        return replace(
            seen.where(tracked),
            track_id=self._ids[tracks],
            class_id=self._classes[tracks],
            began=self._began[tracks],
        )

    def _let_pass(self, media_ns: int) -> None:
        """Move every track on, and end those that were lost for too long; trials end with the first frame without them.

        A clock that jumps back, as after a reconnection, begins anew.
        """
        passed_ns, self._now_ns = media_ns - self._now_ns, media_ns
        if not len(self._ids):
            return
        keep = media_ns - self._seen_ns <= int(self._options.max_lost_s * 1e9)
        keep &= (self._ids > 0) | (self._seen_ns == media_ns - passed_ns)
        keep &= passed_ns >= 0
        if not keep.all():
            self._kalman.keep(keep)
            self._looks.keep(keep)
            self._ids, self._hits, self._classes = self._ids[keep], self._hits[keep], self._classes[keep]
            self._lead, self._seen_ns = self._lead[keep], self._seen_ns[keep]
            self._began = self._began[keep]
        self._kalman.predict(passed_ns / 1e9)

    def _match(self, objects: "_Objects", before_ns: int) -> Indices:
        """The track of each object, -1 for none; twins among the objects are found out on the way."""
        track_of = np.full(len(objects.rows), -1, np.intp)
        count = len(self._ids)
        # One look at all pairs: objects with tracks, and objects with each other.
        boxes = np.concatenate([self._kalman.boxes(), objects.boxes], axis=1)
        first, second, overlap = near(boxes, objects.boxes, min(self._options.min_iou, _TWIN))
        cut = int(np.searchsorted(first, count))
        objects.leave_out_twins(first[cut:] - count, second[cut:], overlap[cut:])
        track, found, gain = first[:cut], second[:cut], overlap[:cut]
        if self._options.reach:
            grown = _grown(boxes, self._options.reach)
            track, found, gain = near(grown[:, :count], grown[:, count:], self._options.min_iou)
        if not len(track):
            return track_of
        track, found, gain = self._pairs(objects, track, found, gain)
        known = self._ids > 0
        # Strong objects first, with every known track; weak ones then with those that were seen a frame ago, since
        # a weak box where a lost track ought to be is more likely something else; trials come last.
        sure, strong = known[track], objects.strong[found]
        fresh = self._seen_ns == before_ns
        self._give(track_of, track, found, gain, sure & strong)
        fresh[track_of[track_of >= 0]] = False
        self._give(track_of, track, found, gain, sure & objects.weak[found] & fresh[track])
        self._give(track_of, track, found, gain, ~sure & strong & (track_of[found] < 0))
        return track_of

    def _pairs(
        self, objects: "_Objects", track: Indices, found: Indices, overlap: Floats
    ) -> tuple[Indices, Indices, Floats]:
        """Tracks and objects that may belong together, and what is gained by it."""
        enough = overlap >= self._options.min_iou
        track, found, gain = track[enough], found[enough], overlap[enough]
        if objects.looks is not None and self._options.appearance:
            track, found, gain = self._alike(objects, objects.looks, track, found, gain)
        return track, found, gain + _SAME_CLASS * (self._classes[track] == objects.class_id[found])

    def _alike(
        self,
        objects: "_Objects",
        looks: NDArray[np.float32],
        track: Indices,
        found: Indices,
        overlap: Floats,
    ) -> tuple[Indices, Indices, Floats]:
        """The same pairs and those that look alike and are possible by motion; without those that look different.

        Of what looks alike the lesser of both distances counts, that of the looks by half, as in BoT-SORT. Unlike
        there the motion is judged by the filter, which knows how long a track was lost, and what looks different is no
        pair however much it overlaps: who steps in front of somebody does not become him.
        """
        if not self._looks.known.any():
            return track, found, overlap
        count, centers = len(objects.rows), objects.boxes[:2] + objects.boxes[2:]
        near_track, near_found = touching(self._kalman.gates(_GATE), np.concatenate([centers, centers]) / 2)
        key = np.union1d(track * count + found, near_track * count + near_found)
        gain = np.zeros(len(key))
        gain[np.searchsorted(key, track * count + found)] = overlap
        track, found = key // count, key % count
        compared = np.flatnonzero(self._looks.known[track] & has_look(looks)[found])
        one, other = track[compared], found[compared]
        distance = self._looks.distance(one, looks[other])
        alike = distance <= self._options.appearance
        alike &= self._kalman.surprise(one, objects.boxes[:, other]) <= _GATE
        gain[compared[alike]] = np.maximum(gain[compared[alike]], 1.0 - distance[alike] / 2)
        gain[compared[distance > 2 * self._options.appearance]] = 0.0
        some = gain > 0
        return track[some], found[some], gain[some]

    def _give(self, track_of: Indices, track: Indices, found: Indices, gain: Floats, pairs: NDArray[np.bool_]) -> None:
        """Assign among some of the pairs; fills in `track_of`."""
        chosen = np.flatnonzero(pairs)
        if len(chosen):
            chosen = chosen[self._assign(track[chosen], found[chosen], gain[chosen])]
            track_of[found[chosen]] = track[chosen]

    def _go_on(self, tracks: Indices, objects: "_Objects", matched: Indices, media_ns: int) -> None:
        """Let tracks go on with the objects they were given."""
        self._kalman.update(tracks, objects.boxes[:, matched])
        self._hits[tracks] += 1
        self._seen_ns[tracks] = media_ns
        # The class of a track is the one with the most confidence behind it (Boyer and Moore's vote, weighted).
        class_id, confidence = objects.class_id[matched], objects.confidence[matched]
        lead = self._lead[tracks] + np.where(class_id == self._classes[tracks], confidence, -confidence)
        self._classes[tracks] = np.where(lead < 0, class_id, self._classes[tracks])
        self._lead[tracks] = np.abs(lead)
        if objects.looks is not None:
            whole = objects.strong[matched]  # what is half hidden looks like what hides it
            self._looks.update(tracks[whole], objects.looks[matched[whole]])

    def _confirm(self) -> None:
        """Number the tracks that have been seen often enough."""
        sure = np.flatnonzero((self._ids == 0) & (self._hits >= self._options.min_hits))
        if len(sure):
            self._ids[sure] = self._last_id + 1 + np.arange(len(sure), dtype=np.int32)
            self._last_id += len(sure)

    def _begin(self, objects: "_Objects", fresh: Indices, media_ns: int) -> None:
        count = len(fresh)
        self._kalman.add(objects.boxes[:, fresh])
        self._looks.add(count)
        self._ids = np.concatenate([self._ids, np.zeros(count, np.int32)])
        self._hits = np.concatenate([self._hits, np.ones(count, np.int32)])
        self._classes = np.concatenate([self._classes, objects.class_id[fresh]])
        self._lead = np.concatenate([self._lead, objects.confidence[fresh]])
        self._seen_ns = np.concatenate([self._seen_ns, np.full(count, media_ns, np.int64)])
        self._began = np.concatenate([self._began, objects.boxes[:, fresh].T.astype(np.float32)])
        if objects.looks is not None:
            self._looks.update(len(self._ids) - count + np.arange(count), objects.looks[fresh])


def _grown(boxes: Floats, reach: float) -> Floats:
    """Boxes (4, n) with so much of their longer side around them.

    Overlap of grown boxes falls off with the distance where that of the boxes is 0 (C-BIoU, arXiv:2211.14317); all
    sides grow alike, as what is flat, such as a plate, moves as far across as along.
    """
    margin = reach * np.maximum(boxes[2] - boxes[0], boxes[3] - boxes[1])
    return np.concatenate([boxes[:2] - margin, boxes[2:] + margin])


class _Objects:
    """The objects of a frame that can be followed, best first, whatever the order of their rows."""

    def __init__(self, seen: Detections, options: TrackerOptions) -> None:
        xyxy, confidence = seen.xyxy, seen.confidence
        usable = (confidence >= options.low) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1) & np.isfinite(xyxy).all(axis=1)
        rows = np.flatnonzero(usable)
        ranks = np.argsort(-confidence[rows], kind="stable")
        if (np.diff(confidence[rows[ranks]]) == 0).any():  # where rows happen to stand decides nothing
            ranks = np.lexsort((*xyxy[rows].T, seen.class_id[rows], -confidence[rows]))
        self.rows: Indices = rows[ranks]
        self.boxes: Floats = xyxy[self.rows].T.astype(np.float64)
        self.confidence = confidence[self.rows]
        self.class_id = seen.class_id[self.rows]
        self.looks = None if seen.embedding is None else seen.embedding[self.rows]
        self.strong = self.confidence >= options.high
        self.weak = ~self.strong

    def leave_out_twins(self, better: Indices, other: Indices, overlap: Floats) -> None:
        """Objects that are a better one seen again, as another class, are nobody."""
        twins = (better < other) & (overlap > _TWIN) & self.strong[other]
        if twins.any():
            self.strong[other[twins]] = False
