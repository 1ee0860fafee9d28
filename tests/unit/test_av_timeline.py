"""Times of streams that jump, wrap, repeat or are not there become ones that rise."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.capture.av.timeline import TICKS_PER_S, Timeline, Times

FRAME = 3600
SECOND = 1_000_000_000
BASE = Fraction(1, TICKS_PER_S)


def _camera(frame_ticks: int = FRAME) -> Timeline:
    return Timeline(5 * SECOND, frame_ticks, live=True)


def _placed(
    timeline: Timeline, own: list[tuple[int | None, int | None]], origin: int | None = None, step_s: float = 0.04
) -> list[Times]:
    """Where packets with these times, `step_s` apart on arrival, come to lie."""
    return [
        timeline.place(pts, dts, None, BASE, int(number * step_s * SECOND), origin)
        for number, (pts, dts) in enumerate(own)
    ]


def _check(times: list[Times]) -> None:
    decoded = [time.dts for time in times]
    assert decoded == sorted(set(decoded)), "dts must rise"
    assert len({time.pts for time in times}) == len(times), "two pictures at once"
    assert all(time.pts >= time.dts for time in times), "shown before it is decoded"
    assert all(time.duration > 0 for time in times)


def _plain(count: int, first: int = 0, step: int = FRAME) -> list[tuple[int | None, int | None]]:
    return [(first + number * step, first + number * step) for number in range(count)]


def test_a_camera_begins_where_it_is_told() -> None:
    """Its own first time does not matter."""
    timeline = _camera()
    times = _placed(timeline, _plain(5, first=123_456_789))
    assert [timeline.media_ns(time.pts) for time in times] == [5 * SECOND + n * 40_000_000 for n in range(5)]
    assert [time.duration for time in times] == [FRAME] * 5


def test_a_recording_begins_at_its_origin() -> None:
    """What lies before it (a picture that only others need) has a time before 0."""
    timeline = Timeline(0, FRAME, live=False)
    times = _placed(timeline, _plain(4, first=900 - FRAME), origin=900)
    assert [timeline.media_ns(time.pts) for time in times] == [-40_000_000, 0, 40_000_000, 80_000_000]


@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 12_800), Fraction(1001, 30_000), Fraction(1, 25)])
def test_any_time_base_is_laid_onto_ticks(base: Fraction) -> None:
    """Rounded to the nearest: half a tick is 5.6 microseconds."""
    timeline = Timeline(0, FRAME, live=False)
    for number in range(0, 1000, 7):
        times = timeline.place(number, number, 1, base, 0, 0)
        assert timeline.media_ns(times.pts) == pytest.approx(float(number * base * SECOND), abs=5600)
        assert times.duration == pytest.approx(float(base * TICKS_PER_S), abs=0.5)


def test_pictures_keep_the_order_in_which_they_are_shown() -> None:
    """B-frames are decoded in another one."""
    own: list[tuple[int | None, int | None]] = [(0, -7200), (10_800, -3600), (3600, 0), (7200, 3600), (21_600, 7200)]
    times = _placed(_camera(), own)
    _check(times)
    assert [time.pts - times[0].pts for time in times] == [0, 10_800, 3600, 7200, 21_600]


def test_the_first_packets_of_rtsp_have_no_time() -> None:
    """FFmpeg leaves them without one; RTP counts from 0, where the first belongs."""
    own: list[tuple[int | None, int | None]] = [(None, None), (36_000, None), (9000, 9000), (18_000, 18_000)]
    times = _placed(_camera(9000), own)
    _check(times)
    assert [time.pts for time in times] == [0, 36_000, 9000, 18_000]


@pytest.mark.parametrize("jump", [-(1 << 33), -1_000_000, 50_000_000, 1 << 40])
def test_a_camera_whose_clock_is_set_goes_on(jump: int) -> None:
    """Set back, forward, or wrapped: the gap is what passed between the packets."""
    own = _plain(10, first=1 << 34)
    own += [(pts + jump, dts + jump) for pts, dts in _plain(10, first=(1 << 34) + 10 * FRAME) if pts and dts]
    times = _placed(_camera(), own)
    _check(times)
    steps = {later.pts - earlier.pts for earlier, later in pairwise(times)}
    assert steps == {FRAME}


def test_a_camera_that_was_silent_for_long_is_no_jump() -> None:
    """Its time and ours went on alike."""
    timeline = _camera()
    first = timeline.place(0, 0, None, BASE, 0)
    later = timeline.place(100 * TICKS_PER_S, 100 * TICKS_PER_S, None, BASE, 100 * SECOND)
    assert later.pts - first.pts == 100 * TICKS_PER_S


def test_a_gap_in_a_recording_stays() -> None:
    """Nobody was there in between; media time says so."""
    timeline = Timeline(0, FRAME, live=False)
    own = _plain(2) + _plain(2, first=1_000_000_000)
    assert [time.pts for time in _placed(timeline, own, origin=0)] == [0, 3600, 1_000_000_000, 1_000_003_600]


def test_a_recording_played_again_goes_on() -> None:
    """One picture behind the last."""
    timeline = Timeline(0, FRAME, live=False)
    own: list[tuple[int | None, int | None]] = [(7200, 0), (14_400, 3600), (10_800, 7200)]
    first = _placed(timeline, own, origin=7200)
    timeline.begin_anew()
    again = _placed(timeline, own, origin=7200)
    _check(first + again)
    assert min(time.pts for time in again) > max(time.pts for time in first)


def test_a_recording_without_times_has_those_of_its_rate() -> None:
    """Bare H.264, for instance."""
    timeline = Timeline(0, FRAME, live=False)
    times = _placed(timeline, [(None, None)] * 5)
    _check(times)
    assert [time.pts for time in times] == [0, 3600, 7200, 10_800, 14_400]


def test_pictures_with_the_same_time_are_told_apart() -> None:
    """By a tick."""
    times = _placed(_camera(), [(0, 0), (3600, 3600), (3600, 3600), (7200, 7200)])
    _check(times)
    assert [time.pts for time in times] == [0, 3600, 3601, 7200]


_OWN = st.one_of(st.none(), st.integers(-(1 << 40), 1 << 40))


@given(own=st.lists(st.tuples(_OWN, _OWN), max_size=60), live=st.booleans(), origin=_OWN)
def test_whatever_a_stream_says_times_rise(
    own: list[tuple[int | None, int | None]], live: bool, origin: int | None
) -> None:
    """Also when it is nonsense."""
    _check(_placed(Timeline(0, FRAME, live=live), own, None if live else origin))
