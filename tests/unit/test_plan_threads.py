"""Checks how the cores are shared between the cameras."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.app.engines import plan_threads


@given(cores=st.integers(1, 256), cameras=st.integers(1, 256))
def test_no_plan_takes_more_cores_than_there_are(cores: int, cameras: int) -> None:
    """At least one thread and one inference, never more inferences than cameras, never more threads than cores."""
    plan = plan_threads(cores, cameras)
    assert plan.threads >= 1
    assert 1 <= plan.parallel <= cameras
    assert plan.threads * plan.parallel <= cores
    assert plan.precision == "f32"


@given(cores=st.integers(2, 256), cameras=st.integers(1, 255))
def test_one_core_is_left_while_there_are_fewer_cameras_than_cores(cores: int, cameras: int) -> None:
    """Capture and publish need it; past that every core infers."""
    plan = plan_threads(cores, cameras)
    if cameras < cores:
        assert plan.threads * plan.parallel <= cores - 1
    else:
        assert plan.threads * plan.parallel == cores


@pytest.mark.parametrize(
    "cores, cameras, threads",
    [(1, 1, 1), (2, 1, 1), (4, 1, 3), (8, 1, 7), (8, 2, 3), (8, 7, 1), (8, 32, 1), (16, 4, 3)],
)
def test_threads_per_inference_follow_from_cores_and_cameras(cores: int, cameras: int, threads: int) -> None:
    """Several only where there are more cores than cameras."""
    assert plan_threads(cores, cameras).threads == threads


@given(cores=st.integers(1, 64), cameras=st.integers(1, 64))
def test_more_cameras_never_get_more_threads_each(cores: int, cameras: int) -> None:
    """The share of each shrinks as others join."""
    assert plan_threads(cores, cameras + 1).threads <= plan_threads(cores, cameras).threads
