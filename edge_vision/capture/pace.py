"""Plays a recording at its own speed."""

from typing import Final

from edge_vision.runtime.clock import Clock

_LONGEST_WAIT_S: Final = 2.0


class Pace:
    """Waits until a frame is due; a gap in the recording longer than two seconds is cut short."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._zero_ns: int | None = None

    def wait_for(self, media_ns: int) -> None:
        """Return when the frame with this presentation time is due; at once when it is late."""
        now_ns = self._clock.monotonic_ns()
        if self._zero_ns is None:
            self._zero_ns = now_ns - media_ns
        early_s = (self._zero_ns + media_ns - now_ns) / 1e9
        if early_s > _LONGEST_WAIT_S:
            self._zero_ns -= int((early_s - _LONGEST_WAIT_S) * 1e9)
            early_s = _LONGEST_WAIT_S
        if early_s > 0:
            self._clock.sleep(early_s)
