"""Checks counting and the window of measurements."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.runtime.tally import Tally, Window


def test_counts_add_up_by_name() -> None:
    """A name never counted is 0, and asking does not make it appear."""
    tally = Tally()
    tally.add("frames")
    tally.add("frames", 4)
    tally.add("lost", 0)
    assert (tally["frames"], tally["lost"], tally["unknown"]) == (5, 0, 0)
    assert tally.snapshot() == {"frames": 5, "lost": 0}


def test_a_snapshot_does_not_change_afterwards() -> None:
    """It is a copy."""
    tally = Tally()
    tally.add("frames")
    before = tally.snapshot()
    tally.add("frames")
    assert before == {"frames": 1}


def test_no_count_is_lost_between_threads() -> None:
    """Eight threads that add at once: the sum is exact."""
    tally = Tally()

    def count() -> None:
        for _ in range(2000):
            tally.add("frames")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally["frames"] == 16_000


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=30), percent=st.floats(0, 100))
def test_a_percentile_is_that_of_the_last_values(values: list[float], percent: float) -> None:
    """Older values than the window holds are forgotten; an empty window says 0."""
    window = Window(8)
    for value in values:
        window.add(value)
    expected = float(np.percentile(values[-8:], percent)) if values else 0.0
    assert window.percentile(percent) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "times, rate",
    [
        ([], 0.0),
        ([5.0], 0.0),
        ([5.0, 5.0], 0.0),
        ([0.0, 0.5], 2.0),
        ([0.0, 0.1, 0.2, 0.3, 0.4], 10.0),
        ([0.0, 100.0, 100.25, 100.5, 100.75], 4.0),  # the window of four has forgotten the first
    ],
)
def test_a_rate_counts_intervals_from_the_oldest_to_the_newest(times: list[float], rate: float) -> None:
    """Five times are four intervals; no interval, no rate."""
    window = Window(4)
    for time_s in times:
        window.add(time_s)
    assert window.rate() == pytest.approx(rate)
