"""Checks that a recording plays at its own speed."""

import pytest

from edge_vision.capture.pace import Pace
from edge_vision.testing.fakes import FakeClock

MS = 1_000_000


def _played(clock: FakeClock, media_ms: list[int], work_ms: int = 0) -> list[float]:
    """When each frame was let through, in seconds after the first."""
    pace, start = Pace(clock), clock.monotonic_ns()
    passed = []
    for media in media_ms:
        pace.wait_for(media * MS)
        passed.append((clock.monotonic_ns() - start) / 1e9)
        clock.advance(work_ms / 1000)
    return passed


@pytest.mark.parametrize(
    "media_ms, work_ms, passed",
    [
        ([0, 40, 80, 120], 0, [0.0, 0.04, 0.08, 0.12]),
        ([5000, 5040, 5080], 0, [0.0, 0.04, 0.08]),  # the first frame sets the zero
        ([0, 40, 80, 120], 30, [0.0, 0.04, 0.08, 0.12]),  # work is part of the wait
        ([0, 40, 80], 100, [0.0, 0.1, 0.2]),  # a late frame is let through at once
        ([0, 60_000, 60_040], 0, [0.0, 2.0, 2.04]),  # a gap is cut to two seconds, and time goes on from there
        ([0, 2000, 4000], 0, [0.0, 2.0, 4.0]),
    ],
)
def test_a_frame_is_let_through_when_it_is_due(media_ms: list[int], work_ms: int, passed: list[float]) -> None:
    """By the time that passed since the first one."""
    assert _played(FakeClock(), media_ms, work_ms) == pytest.approx(passed)


def test_who_is_late_does_not_wait() -> None:
    """Not even for nothing: no call to sleep."""
    clock = FakeClock()
    _played(clock, [0, 40, 80], work_ms=100)
    assert clock.slept == []
