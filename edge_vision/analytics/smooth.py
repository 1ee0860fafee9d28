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
        self._tracks: dict[str, TrackRows] = {}
        """What is known of the points of boxes, keypoints and quads."""

    def __call__(self, scene: Scene) -> Scene:
        """The scene with steady places; boxes stay in the picture. What is no track stays as it is."""
        seen, media_ns = scene.detections, scene.frame.media_ns
        rows = np.flatnonzero(seen.tracked & np.isfinite(seen.xyxy).all(axis=1))
        if seen.track_id is None or not len(rows):
            return scene
        corners = seen.xyxy[rows].astype(np.float64).reshape(-1, 2, 2)
        sizes = corners[:, 1] - corners[:, 0]
        parts = {"xyxy": np.stack([corners.mean(axis=1), sizes], axis=1)}
        parts |= {
            name: part[rows, :, :2].astype(np.float64)
            for name, part in (("keypoints", seen.keypoints), ("quad", seen.quad))
            if part is not None
        }
        unit = np.sqrt(np.maximum(sizes.prod(axis=1), 1.0))
        steady = {name: self._part(name, seen.track_id[rows], part, unit, media_ns) for name, part in parts.items()}
        middle, half = steady["xyxy"][:, 0], steady["xyxy"][:, 1] / 2
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        steady["xyxy"] = np.clip(boxes, 0, np.tile(scene.frame.wh, 2))
        found = {name: column.copy() for name, column in seen.columns().items() if name in steady}
        for name, part in steady.items():
            found[name][(rows, ..., slice(part.shape[-1]))] = part
        return replace(scene, detections=replace(seen, **found))

    def _part(
        self,
        name: str,
        track_id: NDArray[np.int32],
        points: NDArray[np.float64],
        unit: NDArray[np.float64],
        media_ns: int,
    ) -> NDArray[np.float64]:
        """Points (n, p, 2) of tracks made steady; those that are no numbers stay out of it."""
        tracks = self._tracks.get(name)
        still = np.zeros(points.shape[1:])
        if tracks is None or tracks["place"].shape[1:] != still.shape:  # a model that took over sees other points
            tracks = self._tracks[name] = TrackRows(place=still, speed=still, at_ns=np.zeros((), np.int64))
        tracks.forget(np.abs(media_ns - tracks.seen_ns) > _FORGET_NS)
        usable = np.isfinite(points).all(axis=(1, 2))
        if usable.all():
            steady = self._filter(tracks, track_id, points, unit, media_ns)
        else:
            steady = points.copy()
            steady[usable] = self._filter(tracks, track_id[usable], points[usable], unit[usable], media_ns)
        return steady

    def _filter(
        self,
        tracks: TrackRows,
        track_id: NDArray[np.int32],
        points: NDArray[np.float64],
        unit: NDArray[np.float64],
        media_ns: int,
    ) -> NDArray[np.float64]:
        """Points (n, p, 2) made steady; `unit` (n,) is what speeds are measured in."""
        options = self._options
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
