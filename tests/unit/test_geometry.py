"""Checks that a picture laid into a network's input finds its way back to the pixel."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vision.core.geometry import Anchor, Letterbox, Resize
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions

SIDES = st.integers(1, 4000)
SIZES = st.tuples(SIDES, SIDES)
MODEL_SIZES = st.tuples(st.integers(8, 2048), st.integers(8, 2048))
EACH: list[tuple[Resize, Anchor]] = [
    ("letterbox", "center"),
    ("letterbox", "top_left"),
    ("stretch", "center"),
    ("fit_height", "center"),
]
WAYS = st.sampled_from(EACH)


@given(source_wh=SIZES, model_wh=MODEL_SIZES, way=WAYS, share=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_to_source_is_the_inverse_of_to_model(
    source_wh: tuple[int, int], model_wh: tuple[int, int], way: tuple[Resize, Anchor], share: tuple[float, float]
) -> None:
    """A point of the source returns to its place within 1e-3 px, or within what float32 input pixels can tell."""
    letterbox = Letterbox.fit(source_wh, model_wh, *way)
    point = np.array(share) * source_wh
    returned = letterbox.to_source(letterbox.to_model(point))
    resolution = np.spacing(np.float32(max(model_wh))) / np.array(letterbox.scale)
    assert returned.dtype == np.float32
    assert (np.abs(returned - point) <= 1e-3 + resolution).all()


@given(source_wh=SIZES, model_wh=SIZES)
def test_a_letterboxed_side_is_the_floor_of_side_times_scale(
    source_wh: tuple[int, int], model_wh: tuple[int, int]
) -> None:
    """The resized size is floor(side * scale) in exact arithmetic, and at least 1."""
    scale = min(Fraction(model_wh[0], source_wh[0]), Fraction(model_wh[1], source_wh[1]))
    expected = tuple(max(1, int(side * scale)) for side in source_wh)
    assert Letterbox.fit(source_wh, model_wh).resized_wh == expected


@given(source_wh=SIZES, model_wh=SIZES)
def test_the_scale_is_that_of_the_tight_side(source_wh: tuple[int, int], model_wh: tuple[int, int]) -> None:
    """A letterbox has one scale for both axes, the smaller one; stretching has one for each."""
    across, down = model_wh[0] / source_wh[0], model_wh[1] / source_wh[1]
    assert Letterbox.fit(source_wh, model_wh).scale == (min(across, down), min(across, down))
    assert Letterbox.fit(source_wh, model_wh, "stretch").scale == (across, down)


@given(source_wh=SIZES, model_wh=MODEL_SIZES)
def test_a_line_of_text_is_as_high_as_the_input_and_lies_on_the_left(
    source_wh: tuple[int, int], model_wh: tuple[int, int]
) -> None:
    """As wide as its aspect ratio makes it, rounded up, and no wider than the input."""
    letterbox = Letterbox.fit(source_wh, model_wh, "fit_height", "center")
    wide = -(-Fraction(source_wh[0] * model_wh[1], source_wh[1]) // 1)
    assert letterbox.resized_wh == (min(model_wh[0], wide), model_wh[1])
    assert (letterbox.pad_left, letterbox.pad_top) == (0, 0)
    assert letterbox.scale == (letterbox.resized_wh[0] / source_wh[0], model_wh[1] / source_wh[1])


@given(source_wh=SIZES, model_wh=SIZES, way=WAYS)
def test_the_picture_lies_inside_the_input(
    source_wh: tuple[int, int], model_wh: tuple[int, int], way: tuple[Resize, Anchor]
) -> None:
    """It is never empty, never larger than the input, and touches both rims along one axis."""
    letterbox = Letterbox.fit(source_wh, model_wh, *way)
    (width, height), left, top = letterbox.resized_wh, letterbox.pad_left, letterbox.pad_top
    assert min(width, height) >= 1
    assert min(left, top) >= 0
    assert left + width <= model_wh[0]
    assert top + height <= model_wh[1]
    assert width == model_wh[0] or height == model_wh[1]


@given(source_wh=SIZES, model_wh=SIZES)
def test_a_centered_picture_has_equal_rims(source_wh: tuple[int, int], model_wh: tuple[int, int]) -> None:
    """The rims left and right, above and below, differ by one pixel at most; the smaller one comes first."""
    letterbox = Letterbox.fit(source_wh, model_wh, anchor="center")
    for side, resized, before in zip(
        model_wh, letterbox.resized_wh, (letterbox.pad_left, letterbox.pad_top), strict=True
    ):
        assert side - resized - before - before in {0, 1}


@pytest.mark.parametrize(
    "source_wh, model_wh", [((0, 9), (9, 9)), ((9, 0), (9, 9)), ((9, 9), (0, 9)), ((9, 9), (9, -1)), ((-3, 9), (9, 9))]
)
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_an_empty_size_is_refused(source_wh: tuple[int, int], model_wh: tuple[int, int], resize: Resize) -> None:
    """A side below 1 is a ValueError that names both sizes."""
    with pytest.raises(ValueError, match=rf"{source_wh[0]}x{source_wh[1]} into {model_wh[0]}x{model_wh[1]}"):
        Letterbox.fit(source_wh, model_wh, resize)


def test_boxes_and_points_of_any_batch_shape_are_mapped_alike() -> None:
    """(2,), (n, 2), (n, 4) and (n, k, 2) arrays are read as x and y in turn."""
    letterbox = Letterbox.fit((200, 100), (50, 50))
    point = letterbox.to_source(np.array([25.0, 25.0]))
    assert point.tolist() == [100.0, 52.0]
    boxes = letterbox.to_source(np.array([[0.0, 12.5, 50.0, 37.5]]))
    assert boxes.tolist() == [[0.0, 2.0, 200.0, 102.0]]
    assert letterbox.to_source(np.full((3, 5, 2), 25.0)).tolist() == np.full((3, 5, 2), [100.0, 52.0]).tolist()
    assert letterbox.to_source(np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("source_wh", [(641, 359), (359, 641), (97, 1013), (1920, 1080), (333, 333)])
@pytest.mark.parametrize("model_wh", [(416, 416), (320, 192)])
@pytest.mark.parametrize("way", EACH)
def test_a_drawn_box_is_found_where_the_geometry_says(
    source_wh: tuple[int, int], model_wh: tuple[int, int], way: tuple[Resize, Anchor]
) -> None:
    """A white box, preprocessed by OpenCV and found by its edges, maps back to where it was drawn."""
    width, height = source_wh
    drawn = np.array([width // 5, height // 4, width * 7 // 10, height * 2 // 3])
    image = np.zeros((height, width, 3), np.uint8)
    image[drawn[1] : drawn[3], drawn[0] : drawn[2]] = 255
    options = InputOptions(size=model_wh, color="gray", resize=way[0], anchor=way[1], pad_value=0)
    result = LetterboxPreprocessor(options, "in")(image)
    plane = result.tensors["in"][0, 0]
    rows, columns = plane.max(axis=1), plane.max(axis=0)
    found = np.array([*_edges(columns), *_edges(rows)])[[0, 2, 1, 3]]
    back = result.letterbox.to_source(found)
    # Half an input pixel is what resizing without a low-pass filter leaves open; the rest is what a letterbox lost by
    # rounding its side down, for which the nominal scale of the reference decoders does not make up.
    scale, resized = np.array(result.letterbox.scale), np.array(result.letterbox.resized_wh)
    tolerance = np.tile(np.maximum(1.0, (0.5 + np.array(source_wh) * scale - resized) / scale), 2)
    assert (np.abs(back - drawn) <= tolerance).all(), (back, drawn)


def _edges(profile: NDArray[np.float32]) -> tuple[float, float]:
    """Where a profile of 0 to 255 rises and falls, in continuous coordinates: gray edge pixels count in part."""
    bright = np.flatnonzero(profile >= 128)
    first, last = int(bright[0]), int(bright[-1])
    before = float(profile[first - 1]) / 255 if first else 0.0
    after = float(profile[last + 1]) / 255 if last + 1 < len(profile) else 0.0
    return first + (1 - float(profile[first]) / 255) - before, last + float(profile[last]) / 255 + after


def test_the_scale_is_that_of_opencv() -> None:
    """A ramp resized by OpenCV has at each input pixel the value the geometry predicts for its center."""
    source = np.tile(np.arange(251, dtype=np.float32), (16, 1))
    letterbox = Letterbox.fit((251, 16), (96, 8), "stretch")
    resized = cv2.resize(source, letterbox.resized_wh, interpolation=cv2.INTER_LINEAR)
    centers = np.stack([np.arange(96) + 0.5, np.full(96, 4.0)], axis=1)
    predicted = letterbox.to_source(centers)[:, 0] - 0.5
    assert np.allclose(resized[4], predicted, atol=0.02)
