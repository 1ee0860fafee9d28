"""Since when each track has been in each zone."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.places import Anchor, Areas, Point
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.detections import Detections


class Stays:
    """The stays of tracks in zones, a row for each track and a column for each zone.

    A stay goes on while the track is inside, and for `patience_s` of media time in which it is outside or not seen.
    """

    def __init__(self, zones: Mapping[str, tuple[Point, ...]], anchor: Anchor, patience_s: float) -> None:
        self.areas = Areas(zones, anchor)
        self._patience_ns = int(patience_s * 1e9)
        count = len(self.areas)
        self.tracks = TrackRows(
            came_ns=np.zeros(count, np.int64),
            inside_ns=np.full(count, -1, np.int64),
            told=np.zeros(count, bool),
            class_id=np.zeros((), np.int32),
        )
        """`inside_ns` is when it was inside last, negative where there is no stay; `told` is for the stage to set."""

    def follow(self, seen: Detections, wh: tuple[int, int], media_ns: int) -> NDArray[np.float32]:
        """Take in the tracks seen now; for how long each has been in each zone (n, m) in seconds, NaN outside.

        A stay that begins later than now, which is what a media clock that began anew makes of it, begins now.
        """
        if seen.track_id is None or len(seen) == 0:
            return np.empty((0, len(self.areas)), np.float32)
        tracks = self.tracks
        rows, _ = tracks.see(seen.track_id, media_ns)
        within = self.areas.within(seen.xyxy, wh)
        came_ns, inside_ns = tracks["came_ns"][rows], tracks["inside_ns"][rows]
        came_ns = np.where(within & ((inside_ns < 0) | (came_ns > media_ns)), media_ns, came_ns)
        tracks["came_ns"][rows] = came_ns
        tracks["inside_ns"][rows] = np.where(within, media_ns, inside_ns)
        tracks["class_id"][rows] = seen.class_id
        return np.where(within, (media_ns - came_ns) / 1e9, np.nan).astype(np.float32)

    def lasting(self, least_s: float, media_ns: int) -> NDArray[np.intp]:
        """The stays (k, 2), as row and zone, of tracks that are inside now, last for so long and are not told yet."""
        tracks = self.tracks
        long = tracks["inside_ns"] - tracks["came_ns"] >= int(least_s * 1e9)
        return np.argwhere((tracks["inside_ns"] == media_ns) & ~tracks["told"] & long)

    def over(self, media_ns: int, *, at_once: bool = False) -> NDArray[np.intp]:
        """The stays (k, 2) that are over, also because the media clock began anew; `end` them.

        `at_once` has no patience: those of all tracks that are not inside now.
        """
        away_ns = media_ns - self.tracks["inside_ns"]
        late = (away_ns > (0 if at_once else self._patience_ns)) | (away_ns < 0)
        return np.argwhere((self.tracks["inside_ns"] >= 0) & late)

    def end(self, row: int, zone: int) -> None:
        """This stay is over."""
        self.tracks["told"][row, zone], self.tracks["inside_ns"][row, zone] = False, -1

    def forget(self, media_ns: int) -> None:
        """Drop the tracks that are in no zone and not seen now."""
        self.tracks.forget((self.tracks["inside_ns"] < 0).all(axis=1) & (self.tracks.seen_ns != media_ns))

    def lasted_s(self, row: int, zone: int) -> float:
        """How long a stay has lasted so far, up to the last frame in which the track was inside."""
        lasted_ns = self.tracks["inside_ns"][row, zone] - self.tracks["came_ns"][row, zone]
        return max(0.0, round(float(lasted_ns) / 1e9, 3))  # a media clock that began anew
