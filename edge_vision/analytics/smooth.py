"""Steadies the boxes, keypoints and corners of tracks, without lag for those that move."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.options import Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_FORGET_NS: Final = 1_000_000_000
"""A track that was not seen for so long begins anew."""


class SmoothOptions(StageOptions):
    """Steadies what trembles: boxes, keypoints and corners of each track."""

    kind: Literal["smooth"]
    min_cutoff_hz: Number = Field(
        1.0, gt=0, le=100, description="Cut-off frequency for what stands still: lower is steadier."
    )
    beta: Number = Field(
        2.0, ge=0, le=100, description="How much the cut-off rises, in Hz, per speed in box sizes per second."
    )
    speed_cutoff_hz: Number = Field(1.0, gt=0, le=100, description="Cut-off frequency of the speed itself.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks."""
        return frozenset({"track_id"})


class Smooth:
    """A One Euro filter for each point (Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012), in media time.

    A low-pass filter whose cut-off frequency rises with the speed. Both coordinates of a point share it, so that no
    path is bent; speeds are in sizes of the object (the square root of its area) per second, so that the same options
    suit near and far objects and pictures of any size.
    """

    def __init__(self, options: SmoothOptions, context: StageContext) -> None:
        del context
        self._options = options
        self._tracks = TrackRows()
        self._points = -1

    def __call__(self, scene: Scene) -> Scene:
        """The scene with steady places; boxes stay in the picture."""
        seen = scene.detections
        if seen.track_id is None:
            return scene
        corners = seen.xyxy.astype(np.float64).reshape(-1, 2, 2)
        sizes = corners[:, 1] - corners[:, 0]
        parts = [corners.mean(axis=1)[:, None], sizes[:, None]]
        parts += [part[..., :2] for part in (seen.keypoints, seen.quad) if part is not None]
        points = np.concatenate(parts, axis=1)
        if points.shape[1] != self._points:  # the first frame; or a model that took over sees other points
            self._points = points.shape[1]
            still = np.zeros((self._points, 2))
            self._tracks = TrackRows(place=still, speed=still, at_ns=np.zeros((), np.int64))
        unit = np.sqrt(np.maximum(sizes.prod(axis=1), 1.0))
        steady = self._filter(seen.track_id, points, unit, scene.frame.media_ns)
        self._tracks.forget(np.abs(scene.frame.media_ns - self._tracks.seen_ns) > _FORGET_NS)
        half = steady[:, 1] / 2
        boxes = np.concatenate([steady[:, 0] - half, steady[:, 0] + half], axis=1)
        found = replace(seen, xyxy=np.clip(boxes, 0, np.tile(scene.frame.wh, 2)).astype(np.float32))
        rest = steady[:, 2:].astype(np.float32)
        if seen.keypoints is not None:
            count = seen.keypoints.shape[1]
            found = replace(found, keypoints=np.concatenate([rest[:, :count], seen.keypoints[..., 2:]], axis=2))
            rest = rest[:, count:]
        if seen.quad is not None:
            found = replace(found, quad=rest)
        return replace(scene, detections=found)

    def _filter(
        self, track_id: NDArray[np.int32], points: NDArray[np.float64], unit: NDArray[np.float64], media_ns: int
    ) -> NDArray[np.float64]:
        """Points (n, p, 2) made steady; `unit` (n,) is what speeds are measured in."""
        options, tracks = self._options, self._tracks
        rows, fresh = tracks.see(track_id, media_ns)
        passed_s = np.where(fresh, 0.0, (media_ns - tracks["at_ns"][rows]) / 1e9)[:, None, None]
        before, goes_on = tracks["place"][rows], passed_s > 0  # else it is new, or the media clock began anew
        step = np.where(goes_on, (points - before) / np.where(goes_on, passed_s, 1.0), 0.0)
        speed = tracks["speed"][rows]
        speed = np.where(goes_on, speed + _share(options.speed_cutoff_hz, passed_s) * (step - speed), 0.0)
        pace = np.linalg.norm(speed, axis=2, keepdims=True) / unit[:, None, None]
        share = np.where(goes_on, _share(options.min_cutoff_hz + options.beta * pace, passed_s), 1.0)
        steady = before + share * (points - before)
        tracks["place"][rows], tracks["speed"][rows], tracks["at_ns"][rows] = steady, speed, media_ns
        return np.asarray(steady)


def _share(cutoff_hz: float | NDArray[np.float64], passed_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of a new value a low-pass filter of this cut-off takes over after `passed_s`."""
    turns = 2.0 * np.pi * cutoff_hz * np.maximum(passed_s, 0.0)
    return np.asarray(turns / (turns + 1.0))
