"""Checks that a heatmap holds the seconds in which somebody was somewhere."""

from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage

from edge_vision.core.events import Heatmap


def _maps(steps: list[tuple[float, list[Track]]], **options: Any) -> list[Heatmap]:
    one = stage("heatmap", **{"columns": 2, "rows": 2, "period_s": 1, "anchor": "center", **options})
    return [event for at, tracks in steps for event in one(scene(tracks, at)).events if isinstance(event, Heatmap)]


@pytest.mark.parametrize("fps", [2, 25])
def test_a_cell_holds_the_seconds_somebody_stood_in_it(fps: int) -> None:
    """One above on the left all the time, two below on the right for the second half: at any frame rate the same."""
    first: Track = (1, 20, 20)
    others: list[Track] = [(2, 80, 60), (3, 90, 70)]
    steps: list[tuple[float, list[Track]]] = [
        (n / fps, [first, *(others if n / fps > 2.0 else [])]) for n in range(4 * fps + 1)
    ]
    (last,) = _maps(steps, period_s=4)
    assert last.seconds == pytest.approx([4.0, 0.0, 0.0, 4.0])
    assert (last.columns, last.rows, last.since_s, last.half_life_s) == (2, 2, 4.0, None)


def test_it_is_told_after_every_period_and_goes_on_summing_up() -> None:
    """Not from zero: what a half-life does not fade, stays."""
    found = _maps([(n / 10, [(1, 20, 20)]) for n in range(31)])
    assert [one.seconds[0] for one in found] == pytest.approx([1.0, 2.0, 3.0])


def test_what_is_a_half_life_ago_counts_half() -> None:
    """Two seconds in a cell, then two seconds empty: half of them; while they were spent they faded, too."""
    steps: list[tuple[float, list[Track]]] = [(n / 50, [(1, 20, 20)] if n <= 100 else []) for n in range(201)]
    during, after = _maps(steps, period_s=2, half_life_s=2.0)
    assert during.seconds[0] == pytest.approx(2 / np.log(2) * (1 - 0.5), abs=0.06)  # the sum of 2 ** (-age / 2)
    assert after.seconds[0] == pytest.approx(during.seconds[0] / 2, abs=0.06)


def test_a_gap_is_not_taken_for_a_long_stay() -> None:
    """An hour without a frame: two seconds of it count."""
    (one,) = _maps([(0.0, [(1, 20, 20)]), (3600.0, [(1, 20, 20)])])
    assert one.seconds[0] == 2.0
    assert one.since_s == 3600.0


def test_a_clock_that_begins_anew_keeps_what_was_summed_up() -> None:
    """And the period goes on where it was."""
    found = _maps([(100.0, [(1, 20, 20)]), (100.5, [(1, 20, 20)]), (0.0, [(1, 20, 20)]), (0.6, [(1, 20, 20)])])
    assert [one.seconds[0] for one in found] == [1.1]


def test_only_the_classes_named_leave_a_trace() -> None:
    """A car does not, where people are asked for."""
    steps: list[tuple[float, list[Track]]] = [(n / 10, [(1, 20, 20, 1), (2, 80, 20)]) for n in range(11)]
    (one,) = _maps(steps, classes=["person"])
    assert one.seconds == pytest.approx([0.0, 1.0, 0.0, 0.0])


def test_the_rim_belongs_to_the_last_cell() -> None:
    """An anchor at y = height."""
    steps: list[tuple[float, list[Track]]] = [(n / 10, [(1, 96, 76)]) for n in range(11)]
    (one,) = _maps(steps, anchor="bottom")
    assert one.seconds == pytest.approx([0.0, 0.0, 0.0, 1.0])


def test_the_largest_is_still_a_small_message() -> None:
    """64 by 36 cells, each of five digits and a decimal."""
    one = Heatmap(columns=64, rows=36, seconds=[86399.9] * 64 * 36, since_s=1.0, half_life_s=None)
    assert len(msgspec.json.encode(one)) < 20_000


@pytest.mark.parametrize("given", [{"columns": 65}, {"rows": 37}, {"period_s": 0.5}, {"half_life_s": 0}])
def test_options_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """Too large for a message, too often, no time."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "heatmap", **given})
