"""Measures how fast tracks go, and tells when one is too fast."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.ground import RIM, Ground, GroundOptions
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.events import SpeedExceeded
from edge_vision.core.options import Number, Seconds
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact

_CALM: Final = 0.9
"""Whoever was told to be too fast is told again when he was slower than this share of the limit in between."""
_FORGET_NS: Final = 10_000_000_000
"""A track that was not seen for so long is not measured across the gap."""


class SpeedOptions(GroundOptions):
    """Measures how fast tracks move over the floor: attribute `speed_mps`, and an event where that is too fast."""

    kind: Literal["speed"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to measure; all if not given.")
    window_s: Seconds = Field(
        1.0, description="Media time a speed is taken over: longer is steadier; known after half of it."
    )
    limit_mps: Number | None = Field(
        None, gt=0, le=1000, description="Meters per second above which it is told; nothing is told if not given."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Tracks of known classes."""
        return frozenset({"track_id", "class"})

    @model_validator(mode="after")
    def _can_be_known(self) -> "SpeedOptions":
        if self.calibration is None and self.classes is not None and not set(self.classes) & set(self.heights_m):
            label = self.classes[0]
            msg = f"how fast {label} is cannot be known: give a calibration, or its height in heights_m"
            raise ValueError(msg)
        return self


class Speed:
    """The slope of a straight line through the last places of each track, the newest counting most.

    Places lose weight with a time constant of half the window, which are sums that go along with the track and no list
    of places (discounted least squares: Brown, Smoothing, Forecasting and Prediction of Discrete Time Series, 1963).
    """

    def __init__(self, options: SpeedOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._ground = Ground(options, context)
        zero, pair = np.zeros(()), np.zeros(2)
        # Weighted sums over the places so far: of 1, t, t*t, x and t*x, where t is 0 now and negative before.
        self._tracks = TrackRows(
            n=zero,
            t=zero,
            tt=zero,
            x=pair,
            tx=pair,
            scale=zero,
            first_ns=np.zeros((), np.int64),
            at_ns=np.zeros((), np.int64),
            told=np.zeros((), bool),
        )

    def __call__(self, scene: Scene) -> Scene:
        """The scene with `speed_mps` of the tracks, NaN where it is not known."""
        seen, media_ns = scene.detections, scene.frame.media_ns
        if seen.track_id is None:
            return scene
        speeds = np.full(len(seen), np.nan, np.float32)
        places = self._ground.feet(seen, scene.frame.wh)[:, 1]
        scales = self._ground.scales(seen, scene.frame.wh)
        known = np.isfinite(places).all(axis=1) & np.isfinite(scales) & _stands_in(seen.xyxy, scene.frame.wh)
        on_floor = np.flatnonzero(known & self._wanted[seen.class_id] & seen.tracked)
        events: tuple[SpeedExceeded, ...] = ()
        if len(on_floor):
            rows = self._take_in(seen.track_id[on_floor], places[on_floor], scales[on_floor], media_ns)
            speeds[on_floor] = self._speeds(rows, media_ns)
            events = tuple(self._exceeded(rows, seen.class_id[on_floor], speeds[on_floor]))
        self._tracks.forget(np.abs(media_ns - self._tracks.seen_ns) > _FORGET_NS)
        return replace(scene, detections=seen.with_attribute("speed_mps", speeds), events=scene.events + events)

    def _take_in(
        self, track_id: NDArray[np.int32], places: NDArray[np.float64], scales: NDArray[np.float64], media_ns: int
    ) -> NDArray[np.intp]:
        tracks = self._tracks
        rows, fresh = tracks.see(track_id, media_ns)
        passed_ns = np.where(fresh, 0, media_ns - tracks["at_ns"][rows])
        begins = fresh | (passed_ns < 0) | (passed_ns > _FORGET_NS)  # or a media clock that began anew
        passed_s = np.where(begins, 0, passed_ns) / 1e9
        keeps = np.where(begins, 0.0, np.exp(-2.0 * passed_s / self._options.window_s))
        n, t, tt, x, tx = (tracks[name][rows] for name in ("n", "t", "tt", "x", "tx"))
        # Now is later than it was: what was at t is at t - passed.
        tracks["tt"][rows] = keeps * (tt - 2 * passed_s * t + passed_s**2 * n)
        tracks["t"][rows] = keeps * (t - passed_s * n)
        tracks["tx"][rows] = keeps[:, None] * (tx - passed_s[:, None] * x)
        tracks["n"][rows] = keeps * n + 1.0
        tracks["x"][rows] = keeps[:, None] * x + places
        tracks["scale"][rows] += (scales - tracks["scale"][rows]) / tracks["n"][rows]
        tracks["first_ns"][rows] = np.where(begins, media_ns, tracks["first_ns"][rows])
        tracks["at_ns"][rows] = media_ns
        return rows

    def _speeds(self, rows: NDArray[np.intp], media_ns: int) -> NDArray[np.float32]:
        tracks = self._tracks
        n, t, tt, x, tx = (tracks[name][rows] for name in ("n", "t", "tt", "x", "tx"))
        spread = n * tt - t * t
        long = media_ns - tracks["first_ns"][rows] >= int(self._options.window_s * 0.5e9)
        known = long & (spread > 0)
        slope = (n[:, None] * tx - t[:, None] * x) / np.where(known, spread, 1.0)[:, None]
        found = np.linalg.norm(slope, axis=1) * tracks["scale"][rows]
        return np.where(known, found, np.nan).astype(np.float32)

    def _exceeded(
        self, rows: NDArray[np.intp], class_id: NDArray[np.int32], speeds: NDArray[np.float32]
    ) -> Iterator[SpeedExceeded]:
        limit, told = self._options.limit_mps, self._tracks["told"]
        if limit is None:
            return
        fast = speeds > limit
        for number in np.flatnonzero(fast & ~told[rows]).tolist():
            yield SpeedExceeded(
                class_name=self._labels[class_id[number]],
                track_id=int(self._tracks.track_id[rows[number]]),
                speed_mps=round(float(speeds[number]), 3),
                limit_mps=limit,
            )
        told[rows] = fast | (told[rows] & ~(speeds < _CALM * limit))


def _stands_in(xyxy: NDArray[np.float32], wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes show where they stand: one cut off by a side or the lower rim seems to move as it comes into view."""
    left, right, bottom = xyxy[:, 0] / wh[0], xyxy[:, 2] / wh[0], xyxy[:, 3] / wh[1]
    return np.asarray((left > RIM) & (right < 1.0 - RIM) & (bottom < 1.0 - RIM))
