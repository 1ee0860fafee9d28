"""Checks that pixels become the meters that were measured, and that what cannot be a floor is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.analytics.calibration import CalibrationOptions, Floor, fit_homography

TRAPEZE = {
    "points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3], [0.4, 0.3]],
    "meters": [[0, 0], [4, 0], [4, 12], [0, 12]],
}


def _floor(**given: Any) -> Floor:
    return Floor(CalibrationOptions.model_validate({**TRAPEZE, **given}))


def camera(tilt_deg: float, height_m: float = 4.0, focal: float = 1.0) -> NDArray[np.float64]:
    """The (3, 3) matrix from the floor, x to the right and y away in meters, to a picture in 0..1.

    The camera looks down by `tilt_deg` from a height; its focal length is in widths of a square picture.
    """
    turn = np.radians(tilt_deg)
    right, down, ahead = (
        np.array([1.0, 0.0, 0.0]),
        np.array([0.0, -np.sin(turn), -np.cos(turn)]),
        np.array([0.0, np.cos(turn), -np.sin(turn)]),
    )
    turned = np.stack([right, down, ahead])
    moved = -turned @ np.array([0.0, 0.0, height_m])
    inner = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return np.asarray(inner @ np.column_stack([turned[:, 0], turned[:, 1], moved]))


def seen(matrix: NDArray[np.float64], floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a camera sees points of the floor (..., 2)."""
    along = floor @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(along[..., :2] / along[..., 2:])


def test_the_four_points_are_where_they_were_measured() -> None:
    """At any size of the picture, and without anything left over."""
    floor = _floor()
    for wh in ((1, 1), (1920, 1080)):
        assert floor.places(np.array(TRAPEZE["points"]) * wh, wh) == pytest.approx(np.array(TRAPEZE["meters"]))
    assert floor.residuals_m.max() < 1e-9


def test_the_middle_of_the_floor_is_not_the_middle_of_the_picture() -> None:
    """Where the diagonals cross is the middle of the rectangle, worked out by hand: y = 0.42."""
    found = _floor().places(np.array([[0.5, 0.42]]), (1, 1))
    assert found == pytest.approx(np.array([[2.0, 6.0]]))


def test_what_lies_at_the_horizon_or_above_is_nowhere() -> None:
    """The sides of the trapeze meet at y = 0.1: they run 0.3 in x over 0.6 in y, and are 0.2 apart at 0.3."""
    found = _floor().places(np.array([[0.5, 0.2], [0.5, 0.1001], [0.5, 0.1], [0.5, 0.05]]), (1, 1))
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, True]
    assert found[0, 1] > 12


@settings(deadline=None)
@given(
    tilt=st.floats(15, 80),
    height=st.floats(2, 12),
    corners=st.tuples(*[st.floats(0.5, 3)] * 4),
    count=st.integers(4, 12),
    seed=st.integers(0, 999),
)
def test_a_camera_in_space_is_found_again(
    tilt: float, height: float, corners: tuple[float, ...], count: int, seed: int
) -> None:
    """Points of a floor, seen by a camera that looks down at it, come back to a millimeter; so do others."""
    matrix = camera(tilt, height)
    away = height / np.tan(np.radians(tilt))  # what the middle of the picture shows
    rng = np.random.default_rng(seed)
    left, right, near, far = corners
    known = np.array([[-left, away - near / 4], [right, away - near / 4], [right, away + far], [-left, away + far]])
    known = np.concatenate([known, rng.uniform([-left, away], [right, away + far], (count - 4, 2))])
    found = fit_homography(seen(matrix, known), known)
    others = rng.uniform([-left, away], [right, away + far], (50, 2))
    back = np.column_stack([seen(matrix, others), np.ones(50)]) @ found.T
    assert back[:, :2] / back[:, 2:] == pytest.approx(others, abs=1e-3)


def test_more_points_average_out_and_say_how_well() -> None:
    """Ten points with a millimeter of noise: the rest is of that size."""
    rng = np.random.default_rng(5)
    known = rng.uniform([-3, 3], [3, 12], (10, 2))
    points = np.round(seen(camera(35), known), 6)
    options = {"points": points.tolist(), "meters": (known + rng.normal(0, 0.001, known.shape)).tolist()}
    floor = Floor(CalibrationOptions.model_validate(options))
    assert 1e-5 < floor.residuals_m.max() < 0.005


def test_the_origin_may_be_far_away() -> None:
    """Coordinates of a plan of the site, kilometers from its corner: the same floor, moved, to 0.1 mm."""
    rng = np.random.default_rng(6)
    known = rng.uniform([-3, 3], [3, 12], (8, 2))
    measured, points = known + rng.normal(0, 0.02, known.shape), seen(camera(35), known)
    here, there = (
        Floor(CalibrationOptions.model_validate({"points": points.tolist(), "meters": (measured + off).tolist()}))
        for off in (0.0, 9000.0)
    )
    assert there.places(points, (1, 1)) - 9000.0 == pytest.approx(here.places(points, (1, 1)), abs=1e-4)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"meters": [[0, 0], [4, 0], [4, 12], [0, 12], [1, 1]]}, "4 points and 5 meters"),
        ({"points": [[0.1, 0.9], [0.5, 0.9], [0.9, 0.9], [0.5, 0.3]]}, "points: the 1st, 2nd, 3rd are (nearly) on one"),
        ({"meters": [[0, 0], [4, 0], [2, 5], [0, 10]]}, "meters: the 2nd, 3rd, 4th are (nearly) on one line"),
        ({"points": [[0.1, 0.9], [0.1, 0.9], [0.6, 0.3], [0.4, 0.3]]}, "the 1st, 2nd, 3rd are"),
        ({"points": [[0.1, 0.9], [0.9, 0.9], [0.4, 0.3], [0.6, 0.3]]}, "the 1st and the 2nd of one of them swapped?"),
        ({"meters": [[0, 0], [4, 12], [4, 0], [0, 12]]}, "do not go around in the same order"),
        ({"points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3]]}, "at least 4 items"),
        ({"points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3], [0.4, 1.3]]}, "less than or equal to 1"),
    ],
)
def test_what_cannot_be_a_floor_is_refused(given: dict[str, Any], message: str) -> None:
    """And why: which points are on a line, which are swapped, how many are missing."""
    with pytest.raises(ValidationError) as refused:
        _floor(**given)
    assert message in str(refused.value)


def test_a_point_that_does_not_fit_the_others_is_named() -> None:
    """One of six, measured a meter off."""
    known = np.array([[-2, 4], [2, 4], [2, 10], [-2, 10], [0, 6], [1, 8]], np.float64)
    points = seen(camera(35), known)
    known[4, 0] += 1.5
    options = {"points": points.tolist(), "meters": known.tolist()}
    with pytest.raises(ValidationError, match=r"the 5th point lies \d\.\d+ m from where all together put it"):
        CalibrationOptions.model_validate(options)
    assert Floor(CalibrationOptions.model_validate({**options, "tolerance_m": 2.0})).residuals_m.argmax() == 4


def test_points_on_a_line_are_fine_where_four_others_are_not() -> None:
    """A row of marks along a wall beside the corners."""
    known = np.array([[-2, 4], [0, 4], [2, 4], [2, 10], [-2, 10]], np.float64)
    options = {"points": seen(camera(35), known).tolist(), "meters": known.tolist()}
    assert Floor(CalibrationOptions.model_validate(options)).residuals_m.max() < 1e-9


def test_a_mirrored_floor_is_a_floor() -> None:
    """Axes may turn either way: y towards the camera."""
    assert _floor(meters=[[0, 12], [4, 12], [4, 0], [0, 0]]).residuals_m.max() < 1e-9


def test_the_area_of_a_polygon_is_that_on_the_floor() -> None:
    """The whole trapeze has 4 by 12 meters; what reaches the horizon has none."""
    floor = _floor()
    assert floor.area_m2(((0.1, 0.9), (0.9, 0.9), (0.6, 0.3), (0.4, 0.3))) == pytest.approx(48.0)
    assert np.isnan(floor.area_m2(((0.1, 0.9), (0.9, 0.9), (0.5, 0.0))))
