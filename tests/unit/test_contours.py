"""Masks become polygons that enclose the same area, with few corners."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.analytics.places import inside
from edge_vision.publish.contours import MOST_POINTS, polygons

UNIT = np.array([0.0, 0.0, 1.0, 1.0], np.float32)


def _over(mask: NDArray[Any]) -> NDArray[np.float32]:
    """A box with ten pixels for each cell."""
    return np.array([0, 0, mask.shape[1] * 10, mask.shape[0] * 10], np.float32)


def _filled(found: list[list[list[float]]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether the center of each cell lies inside an odd number of polygons."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    centers = (np.stack([columns.ravel(), rows.ravel()], axis=1) * 10 + 5).astype(np.float32)
    counts = sum(inside(centers, np.array(one, np.float32)).astype(int) for one in found)
    return np.asarray(np.reshape(counts, shape) % 2 == 1)


def test_a_full_mask_is_the_box() -> None:
    """Four corners, in pixels of the source."""
    (one,) = polygons(np.ones((3, 4), bool), np.array([10.0, 20.0, 50.0, 50.0], np.float32))
    assert sorted(one) == [[10.0, 20.0], [10.0, 50.0], [50.0, 20.0], [50.0, 50.0]]


def test_a_single_cell_has_an_area() -> None:
    """A line of cells is as wide as a cell: a scratch does not vanish."""
    mask = np.array([[False, True, False]])
    assert sorted(polygons(mask, _over(mask))[0]) == [[10.0, 0.0], [10.0, 10.0], [20.0, 0.0], [20.0, 10.0]]


@pytest.mark.parametrize("seed", range(5))
def test_small_masks_are_enclosed_exactly(seed: int) -> None:
    """Several pieces, and holes in them: each cell is inside where the mask is."""
    mask = np.zeros((12, 16), bool)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        top, left = rng.integers(0, 9, 2)
        mask[top : top + rng.integers(1, 5), left : left + rng.integers(1, 8)] ^= True
    assert np.array_equal(_filled(polygons(mask, _over(mask)), mask.shape), mask)


def test_a_hole_is_a_polygon_of_its_own() -> None:
    """What is inside of two is outside."""
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    found = polygons(mask, _over(mask))
    assert len(found) == 2
    assert np.array_equal(_filled(found, mask.shape), mask)


def test_a_ragged_mask_is_simplified_until_its_corners_are_few() -> None:
    """A disk and noise: at most so many corners, and nearly the same area."""
    rows, columns = np.mgrid[0:300, 0:300]
    disk = np.hypot(rows - 150, columns - 150) < 120 + 4 * np.sin(np.arctan2(rows - 150, columns - 150) * 60)
    found = polygons(disk, _over(disk))
    assert sum(map(len, found)) <= MOST_POINTS
    filled = _filled(found, disk.shape)
    assert (filled & disk).sum() / (filled | disk).sum() > 0.97
    noise = np.random.default_rng(0).random((200, 200)) < 0.5
    assert sum(map(len, polygons(noise, _over(noise)))) <= MOST_POINTS


def test_an_empty_mask_has_no_polygon() -> None:
    """Nothing is drawn where nothing is."""
    assert polygons(np.zeros((4, 4), bool), UNIT) == []
