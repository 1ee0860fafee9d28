"""Makes of a stream's own times, whatever they are, ones that rise: for the decoder, the ring and the frames alike."""

from collections import deque
from fractions import Fraction
from typing import Final, NamedTuple

TICKS_PER_S: Final = 90_000
"""The clock of RTP video and MPEG; every usual frame rate is a whole number of its ticks."""
TIME_BASE: Final = Fraction(1, TICKS_PER_S)

_REORDERED: Final = 2 * TICKS_PER_S
"""Pictures are coded up to 16 ahead of their turn (H.264, annex A): a time further back is a new beginning."""
_AHEAD: Final = 5
"""How many pictures before its turn a stream's first one is taken to be decoded, where the stream does not say."""
_LEAP: Final = 10 * TICKS_PER_S
"""A camera's time that runs so far ahead of its packets' arrival was set."""


class Times(NamedTuple):
    """When a packet is shown and decoded, and for how long; in ticks of 1/90,000 s."""

    pts: int
    dts: int
    duration: int


class Timeline:
    """Lays the times of one stream onto ticks: `dts` rises with each packet, no two have the same `pts`.

    `frame_ticks` is how long a picture lasts whose packet does not say. For one thread.
    A camera's first packet lies at `base_ns` of media time; so does the `origin` of a recording, in its own time base.
    Where a stream's times begin anew (it was set, has wrapped, or is played again), the ticks go on behind the last.
    """

    def __init__(self, base_ns: int, frame_ticks: int, *, live: bool) -> None:
        self.frame_ticks = frame_ticks
        self._base_ns = base_ns
        self._live = live
        self._offset: int | None = None
        self._anew = False
        self._last_dts = 0
        self._highest = 0
        self._arrived_ns = 0
        self._recent: deque[int] = deque(maxlen=32)

    def media_ns(self, pts: int) -> int:
        """The media time of a tick, in nanoseconds."""
        return self._base_ns + (pts * 200_000 + 9) // 18

    def begin_anew(self) -> None:
        """The recording is played again: its times go on behind those before."""
        self._anew = True

    def place(
        self,
        pts: int | None,
        dts: int | None,
        duration: int | None,
        time_base: Fraction,
        arrived_ns: int,
        origin: int | None = None,
    ) -> Times:
        """The times of the next packet, given those it has in `time_base` (seconds), and when it came (monotonic)."""
        shown = pts if pts is not None else dts
        own_pts = self._next_own_time() if shown is None else _ticks(shown, time_base)
        own_dts = None if shown is None or dts is None else _ticks(dts, time_base)
        if self._offset is None:
            start = own_pts if origin is None else _ticks(origin, time_base)
            self._offset = -start
            self._highest = own_pts + self._offset
            ahead = self._highest - _AHEAD * self.frame_ticks
            self._last_dts = (ahead if own_dts is None else min(ahead, own_dts + self._offset)) - 1
        elif self._anew or self._jumps(own_pts + self._offset, arrived_ns):
            first = own_pts if own_dts is None else min(own_dts, own_pts)
            self._offset = max(self._last_dts, self._highest) + self._gap(arrived_ns) - first
        self._anew = False
        self._arrived_ns = arrived_ns
        placed = self._place(own_pts + self._offset, None if own_dts is None else own_dts + self._offset)
        lasts = _ticks(duration, time_base) if duration else 0
        return Times(*placed, lasts if lasts > 0 else self.frame_ticks)

    def _place(self, pts: int, dts: int | None) -> tuple[int, int]:
        if dts is None:  # on the way to its time, and never past it
            dts = self._last_dts + (pts - self._last_dts) // 8
        dts = max(dts, self._last_dts + 1)
        pts = max(pts, dts)
        for _ in range(len(self._recent)):  # two pictures at once would be one to whoever looks for them by time
            if pts not in self._recent:
                break
            pts += 1
        self._recent.append(pts)
        self._last_dts = dts
        self._highest = max(self._highest, pts)
        return pts, dts

    def _next_own_time(self) -> int:
        """A time for what has none: behind the picture before it; 0 for the first, where RTP begins to count."""
        return 0 if self._offset is None else self._highest + self.frame_ticks - self._offset

    def _jumps(self, pts: int, arrived_ns: int) -> bool:
        if pts < self._highest - _REORDERED:
            return True
        return self._live and pts > self._highest + _LEAP + (arrived_ns - self._arrived_ns) * 9 // 100_000

    def _gap(self, arrived_ns: int) -> int:
        """How far behind the last picture a new beginning lies."""
        return max(1, (arrived_ns - self._arrived_ns) * 9 // 100_000) if self._live else self.frame_ticks


def _ticks(time: int, time_base: Fraction) -> int:
    """A time in ticks, rounded."""
    numerator, denominator = time * time_base.numerator * TICKS_PER_S, time_base.denominator
    return (2 * numerator + denominator) // (2 * denominator)
