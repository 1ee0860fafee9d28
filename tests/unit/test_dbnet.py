"""The finder of lines of text: regions of a map become rotated rectangles of the right size and order."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.dbnet import corners, grown
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
WH = (256, 192)
SAME = Letterbox.fit(WH, WH, "stretch")


def _find(
    chances: NDArray[np.float32], letterbox: Letterbox = SAME, confidence: float = 0.5, **options: Any
) -> Detections:
    decode = build_postprocessor(
        OPTIONS.validate_python({"format": "dbnet", **options}), Thresholds(confidence=confidence), ("line",), WH
    )
    return decode({"map": chances[None, None]}, letterbox)


def _map(*rectangles: tuple[float, float, float, float, float], chance: float = 0.9) -> NDArray[np.float32]:
    """A map with rotated rectangles, center, sides, degrees: of all pixels whose center is inside."""
    chances = np.zeros((WH[1], WH[0]), np.float32)
    y, x = np.mgrid[: WH[1], : WH[0]] + 0.5
    for center_x, center_y, width, height, degrees in rectangles:
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        along = (x - center_x) * cosine + (y - center_y) * sine
        down = (y - center_y) * cosine - (x - center_x) * sine
        chances[(np.abs(along) <= width / 2) & (np.abs(down) <= height / 2)] = chance
    return chances


@pytest.mark.parametrize("degrees", [-40, -12, 0, 5, 30, 44])
@pytest.mark.parametrize("unclip", [0, 1.5])
def test_a_line_is_found_with_its_corners_in_order(degrees: float, unclip: float) -> None:
    """From its top left clockwise, grown by area * ratio / perimeter, within a pixel and a half of a drawn one."""
    true = np.array([[128, 96, 100, 24, degrees]], np.float32)
    found = _find(_map(tuple(true[0].tolist())), unclip=unclip)
    offset = 100 * 24 * unclip / (2 * (100 + 24))
    expected = corners(true + np.array([0, 0, 2 * offset, 2 * offset, 0], np.float32))
    assert len(found) == 1
    assert found.quad is not None
    assert np.abs(found.quad - expected).max() < 1.5
    assert found.confidence[0] == pytest.approx(0.9, abs=0.1)  # a few pixels of the rim count as inside


def test_a_region_is_exact_to_the_pixel() -> None:
    """Columns 10 to 49 and rows 20 to 29 reach from 10 to 50 and from 20 to 30."""
    chances = np.zeros((WH[1], WH[0]), np.float32)
    chances[20:30, 10:50] = 1.0
    found = _find(chances, unclip=0)
    assert found.quad is not None
    assert np.allclose(found.quad[0], [[10, 20], [50, 20], [50, 30], [10, 30]], atol=1e-3)
    assert np.allclose(found.xyxy[0], [10, 20, 50, 30], atol=1e-3)


@given(
    center=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    sides=st.tuples(st.floats(1, 90), st.floats(1, 90)),
    degrees=st.floats(-180, 180),
)
def test_corners_are_those_of_opencv_from_the_top_left(
    center: tuple[float, float], sides: tuple[float, float], degrees: float
) -> None:
    """The same four points; the first side is the upper one, within 45 degrees of the horizontal, and runs right."""
    (found,) = corners(np.array([[*center, *sides, degrees]], np.float32))
    points = cv2.boxPoints((center, sides, degrees))
    assert np.linalg.norm(found[:, None] - points[None], axis=2).min(axis=1).max() < 1e-3
    along, down = found[1] - found[0], found[3] - found[0]
    assert along[0] >= abs(along[1]) - 1e-3
    assert along[0] * down[1] - along[1] * down[0] > 0


def test_growing_undoes_the_shrinking_of_training() -> None:
    """By area * ratio / perimeter on each side (arXiv:1911.08947)."""
    (found,) = grown(np.array([[5, 6, 30, 10, 20]], np.float32), 1.5)
    assert found.tolist() == pytest.approx([5, 6, 30 + 2 * 5.625, 10 + 2 * 5.625, 20])


def test_regions_that_are_unsure_or_too_narrow_are_left_out() -> None:
    """By the mean inside the rectangle; by the shorter side; a pixel at the threshold is not text."""
    sure, unsure, narrow = (60, 40, 60, 12, 0), (60, 100, 60, 12, 0), (60, 160, 60, 2, 0)
    chances = np.maximum(_map(sure), np.maximum(_map(unsure, chance=0.45), _map(narrow)))
    found = _find(chances)
    assert len(found) == 1
    assert found.quad is not None
    assert found.quad[0].mean(axis=0) == pytest.approx([60, 40], abs=1)
    assert len(_find(chances, confidence=0.4)) == 2
    assert len(_find(chances, min_side_px=0)) == 2
    assert len(_find(chances, threshold=0.95)) == 0


def test_lines_side_by_side_are_both_kept() -> None:
    """Slanted ones whose boxes overlap by far more than any threshold."""
    found = _find(_map((128, 80, 170, 10, 40), (118, 92, 170, 10, 40)), unclip=0.5)
    assert len(found) == 2


def test_a_map_of_another_size_is_scaled() -> None:
    """A quarter of the input; and back to a letterboxed source."""
    small = np.ascontiguousarray(_map((128, 96, 100, 24, 0))[::4, ::4])
    letterbox = Letterbox.fit((512, 384), WH)
    found = _find(small, letterbox, unclip=0)
    assert found.quad is not None
    assert np.abs(found.quad[0] - np.array([[156, 168], [356, 168], [356, 216], [156, 216]])).max() <= 8
    with pytest.raises(ModelError, match="format dbnet expects a map like the input of 256x192"):
        _find(np.zeros((100, 100), np.float32))


def test_logits_become_probabilities() -> None:
    """`activation: sigmoid`, also of hopeless ones."""
    chances = _map((128, 96, 100, 24, 0))
    logits = np.where(chances > 0, np.float32(2.0), np.float32(-1000.0))
    found = _find(logits, activation="sigmoid")
    assert found.confidence.tolist() == pytest.approx([1 / (1 + np.exp(-2.0))], abs=0.02)


def test_noise_is_not_looked_at_without_end() -> None:
    """Thousands of specks, of which the largest thousand are looked at: the one line is among them."""
    chances = _map((128, 96, 100, 24, 0))
    chances[::4, ::2] = np.maximum(chances[::4, ::2], 0.8)
    assert len(_find(chances)) == 1


def test_nothing_is_an_empty_scene_with_corners() -> None:
    """No quads, but the column."""
    found = _find(np.zeros((WH[1], WH[0]), np.float32))
    assert found.quad is not None
    assert found.quad.shape == (0, 4, 2)
