"""Checks how many there are, and when that is told."""

from typing import Any

from tracks import Track, scene, stage, told

from edge_vision.core.events import Count


def _counts(steps: list[list[Track]], **options: Any) -> list[tuple[int, str | None, int, str]]:
    events = told(stage("count", **options), steps)
    return [(number, event.zone, event.total, event.reason) for number, event in events if isinstance(event, Count)]


def _some(count: int, times: int) -> list[list[Track]]:
    return [[(number, 10.0 + 10 * number, 40.0) for number in range(count)] for _ in range(times)]


def test_a_number_is_told_when_it_has_stood_for_a_while() -> None:
    """Half a second, 0.1 s per step: what flickers is not told."""
    steps = [*_some(3, 10), *_some(2, 3), *_some(3, 3), *_some(2, 10)]
    assert _counts(steps) == [(5, None, 3, "change"), (21, None, 2, "change")]


def test_two_frames_with_a_pause_between_them_are_no_number_that_stands() -> None:
    """A camera that has just begun drops frames, and the tracker is not sure yet: that is not an empty picture."""
    one = stage("count")
    seen: list[tuple[float, int]] = [(0.0, 0), (0.7, 0), (0.8, 3), (0.9, 3), (2.0, 3), (3.0, 2), (4.0, 2), (5.0, 2)]
    told_at = [seconds for seconds, many in seen if one(scene(_some(many, 1)[0], seconds)).events]
    assert told_at == [2.0, 5.0]


def test_it_is_told_again_after_the_period() -> None:
    """Also when nothing changed."""
    found = _counts(_some(1, 31), stable_s=0, period_s=1.0)
    assert found == [(0, None, 1, "change"), *[(number, None, 1, "period") for number in (10, 20, 30)]]


def test_each_zone_has_its_own_number() -> None:
    """Left and right half."""
    left, right = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
    steps: list[list[Track]] = [[(1, 10, 40), (2, 20, 40), (3, 80, 40)]]
    found = _counts(steps, zones={"left": left, "right": right}, stable_s=0)
    assert found == [(0, "left", 2, "change"), (0, "right", 1, "change")]


def test_classes_are_counted_apart() -> None:
    """One car for one person is a change, although there are as many."""
    steps: list[list[Track]] = [[(1, 10, 40, 0), (2, 20, 40, 1)], [(1, 10, 40, 1), (2, 20, 40, 1)]]
    events = told(stage("count", stable_s=0), steps)
    assert [event.by_class for _, event in events if isinstance(event, Count)] == [{"person": 1, "car": 1}, {"car": 2}]


def test_an_empty_picture_is_a_number_too() -> None:
    """None, told once."""
    assert _counts(_some(0, 10)) == [(5, None, 0, "change")]


def test_a_number_that_never_rests_is_told_as_it_is_when_the_period_is_over() -> None:
    """One more and one less, frame by frame: no change is told, and nothing that was true once."""
    steps = [*_some(1, 6), *([*_some(2, 1), *_some(3, 1)] * 20)]
    assert _counts(steps, period_s=1.0) == [
        (5, None, 1, "change"),
        (15, None, 3, "period"),
        (25, None, 3, "period"),
        (35, None, 3, "period"),
        (45, None, 3, "period"),
    ]


def test_a_period_is_told_although_no_number_has_rested_yet() -> None:
    """From the first frame on."""
    assert _counts([*_some(2, 1), *_some(3, 1)] * 6, period_s=1.0) == [(10, None, 2, "period")]


def test_a_clock_that_begins_anew_begins_a_period() -> None:
    """Not at once, and not when the old clock would have it."""
    one = stage("count", stable_s=0, period_s=1.0)
    times = [100.0, 100.5, 0.0, 0.5, 0.9, 1.0]
    reasons = [[event.reason for event in one(scene([(1, 10, 40)], seconds)).events] for seconds in times]  # type: ignore[attr-defined]
    assert reasons == [["change"], [], [], [], [], ["period"]]


def test_who_is_cut_off_by_the_picture_is_in_a_zone_that_reaches_its_edge() -> None:
    """A box that ends at the very edge: the lower right corner of the picture is in the picture."""
    whole = {"whole": [[0, 0], [1, 0], [1, 1], [0, 1]]}
    for anchor in ("bottom", "right", "top", "left"):
        for x, y in ((96.0, 76.0), (4.0, 4.0)):
            assert _counts([[(1, x, y)]], zones=whole, stable_s=0, anchor=anchor)[0][2] == 1


def test_a_number_stands_anew_when_the_media_clock_begins_anew() -> None:
    """What stood until a reconnection is told half a second behind it, not when the clock is where it was."""
    one = stage("count")
    before = [one(scene(_some(2, 1)[0], 100.0 + number / 10)).events for number in range(4)]
    after = [one(scene(_some(2, 1)[0], number / 10)).events for number in range(7)]
    assert not any(before)
    assert [number for number, events in enumerate(after) if events] == [5]
