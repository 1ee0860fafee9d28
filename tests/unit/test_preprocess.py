"""Checks the preprocessor against an implementation that is slow and obvious."""

from itertools import product
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.core.geometry import Letterbox
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions

Picture = NDArray[np.uint8]

WAYS = (("letterbox", "center"), ("letterbox", "top_left"), ("stretch", "center"))
VALUES: dict[str, dict[str, Any]] = {
    "plain": {},
    "unit": {"scale": 1 / 255},
    "imagenet": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "mean only": {"mean": (104.0, 117.0, 123.0)},
    "std only": {"std": (58.0, 57.0, 57.5)},
}


def _random_picture(width: int, height: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _reference(image: Picture, options: InputOptions) -> NDArray[Any]:
    """Resize, pad, reorder, normalize and transpose, one step after the other, in float64."""
    height, width = image.shape[:2]
    letterbox = Letterbox.fit((width, height), options.size, options.resize, options.anchor)
    way = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}[options.interpolation]
    resized = cv2.resize(image, letterbox.resized_wh, interpolation=way)
    if options.color == "gray":
        channels = cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY)[:, :, None]
    else:
        channels = resized if options.color == "bgr" else resized[:, :, ::-1]
    canvas = np.full((options.size[1], options.size[0], channels.shape[2]), options.pad_value, np.float64)
    left, top = letterbox.pad_left, letterbox.pad_top
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = channels
    count = channels.shape[2]
    canvas = (canvas * options.scale - np.array(options.mean[:count])) / np.array(options.std[:count])
    if options.layout == "nchw":
        canvas = canvas.transpose(2, 0, 1)
    tensor: NDArray[Any] = canvas[None].astype(options.dtype)
    return tensor


def _combinations() -> list[Any]:
    found = []
    for (resize, anchor), color, layout in product(WAYS, ("bgr", "rgb", "gray"), ("nchw", "nhwc")):
        shared = {"size": (48, 40), "resize": resize, "anchor": anchor, "color": color, "layout": layout}
        name = f"{resize}-{anchor}-{color}-{layout}"
        found.append(pytest.param({**shared, "dtype": "uint8"}, id=f"{name}-uint8"))
        for values, more in VALUES.items():
            cut = {key: value[:1] if color == "gray" and key != "scale" else value for key, value in more.items()}
            found.append(pytest.param({**shared, **cut}, id=f"{name}-{values}"))
    return found


@pytest.mark.parametrize("given", _combinations())
def test_every_combination_equals_the_reference(given: dict[str, Any]) -> None:
    """Resize rule, color order, layout, type and value range: the tensor, rim included, is the reference's."""
    options = InputOptions(**given)
    preprocess = LetterboxPreprocessor(options, "images")
    for number, (width, height) in enumerate([(101, 57), (33, 90), (48, 40), (7, 5)]):
        image = _random_picture(width, height, number)
        found = preprocess(image)
        expected = _reference(image, options)
        assert list(found.tensors) == ["images"]
        tensor = found.tensors["images"]
        assert tensor.shape == options.shape
        assert tensor.dtype == options.dtype
        assert tensor.flags.c_contiguous
        assert found.letterbox == Letterbox.fit((width, height), options.size, options.resize, options.anchor)
        np.testing.assert_allclose(tensor, expected, rtol=1e-6, atol=1e-4)


def test_area_averages_what_falls_together() -> None:
    """Of a picture of 4x2 blocks each becomes the mean of its pixels, where linear looks at few of them."""
    image = _random_picture(4 * 16, 2 * 8)
    options = InputOptions(size=(16, 8), resize="stretch", interpolation="area", color="bgr")
    tensor = LetterboxPreprocessor(options, "in")(image).tensors["in"]
    means = image.reshape(8, 2, 16, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(tensor, means, atol=0.51)  # rounded to gray levels
    np.testing.assert_allclose(tensor, _reference(image, options), atol=1e-4)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("color", ["bgr", "rgb", "gray"])
@pytest.mark.parametrize("source_wh", [(4000, 3), (3, 4000), (1, 1), (1, 999), (999, 1)])
def test_extreme_shapes_equal_the_reference(
    source_wh: tuple[int, int],
    color: Literal["bgr", "rgb", "gray"],
    dtype: Literal["uint8", "float32"],
    layout: Literal["nchw", "nhwc"],
) -> None:
    """A picture that shrinks to a single row or column is laid in like any other."""
    options = InputOptions(size=(40, 24), color=color, layout=layout, dtype=dtype)
    image = _random_picture(*source_wh)
    tensor = LetterboxPreprocessor(options, "in")(image).tensors["in"]
    np.testing.assert_allclose(tensor, _reference(image, options), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["bgr", "rgb", "gray"])
def test_one_buffer_serves_every_call(
    dtype: Literal["uint8", "float32"], layout: Literal["nchw", "nhwc"], color: Literal["bgr", "rgb", "gray"]
) -> None:
    """The same array comes back, also for another source size, and holds nothing of the frame before."""
    options = InputOptions(size=(64, 64), dtype=dtype, layout=layout, color=color, pad_value=7)
    preprocess = LetterboxPreprocessor(options, "in")
    buffer = preprocess(np.full((64, 64, 3), 255, np.uint8)).tensors["in"]
    for width, height in [(64, 20), (20, 64), (20, 64), (63, 64)]:
        image = _random_picture(width, height)
        tensor = preprocess(image).tensors["in"]
        assert tensor is buffer
        np.testing.assert_allclose(tensor, _reference(image, options), rtol=1e-6, atol=1e-4)


def test_the_rim_is_painted_when_the_size_changes_only() -> None:
    """Frames of one size leave the rim alone, so that a frame costs its own pixels only."""
    preprocess = LetterboxPreprocessor(InputOptions(size=(32, 32), pad_value=9), "in")
    wide = _random_picture(32, 16)
    tensor = preprocess(wide).tensors["in"]
    assert (tensor[0, :, :8] == 9).all()
    tensor[0, :, 0, 0] = -1.0
    preprocess(wide)
    assert (tensor[0, :, 0, 0] == -1.0).all()
    preprocess(_random_picture(16, 32))
    preprocess(wide)
    assert (tensor[0, :, :8] == 9).all()


@pytest.mark.parametrize("wh", [(101, 57), (64, 64)])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_frame_is_never_written_to(wh: tuple[int, int], layout: Literal["nchw", "nhwc"]) -> None:
    """A read-only picture is accepted and stays as it is, also when it has the size of the input."""
    image = _random_picture(*wh)
    before = image.copy()
    image.flags.writeable = False
    LetterboxPreprocessor(InputOptions(size=(64, 64), layout=layout, dtype="uint8", color="bgr"), "in")(image)
    assert np.array_equal(image, before)


def test_a_view_into_a_larger_picture_is_laid_in_like_a_copy() -> None:
    """A crop, whose rows are not side by side in memory, gives the same tensor as its copy."""
    options = InputOptions(size=(48, 48))
    crop = _random_picture(200, 150)[20:90, 30:140]
    tensor = LetterboxPreprocessor(options, "in")(crop).tensors["in"]
    np.testing.assert_allclose(tensor, _reference(crop.copy(), options), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"mean": (1.0,)}, "mean has 1 values, color rgb has 3 channels"),
        ({"std": (1.0, 2.0)}, "std has 2 values"),
        ({"color": "gray", "mean": (1.0, 2.0, 3.0)}, "mean has 3 values, color gray has 1 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "std must not contain 0"),
        ({"dtype": "uint8", "scale": 0.5}, "uint8 input takes pixels as they are"),
        ({"dtype": "uint8", "mean": (0.0, 1.0, 0.0)}, "uint8 input takes pixels as they are"),
        ({"scale": 0.0}, "scale"),
        ({"pad_value": 256}, "pad_value"),
        ({"size": (0, 64)}, "size"),
        ({"size": (64, 8193)}, "size"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "mean"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], words: str) -> None:
    """A wrong count, a division by 0 and values a uint8 input cannot hold are errors that say so."""
    with pytest.raises(ValidationError, match=words):
        InputOptions(**{"size": (64, 64), **given})


@pytest.mark.parametrize(
    "given, shape",
    [
        ({"size": (64, 32)}, (1, 3, 32, 64)),
        ({"size": (64, 32), "layout": "nhwc"}, (1, 32, 64, 3)),
        ({"size": (64, 32), "color": "gray"}, (1, 1, 32, 64)),
        ({"size": (64, 32), "color": "gray", "layout": "nhwc"}, (1, 32, 64, 1)),
    ],
)
def test_the_shape_follows_from_size_color_and_layout(given: dict[str, Any], shape: tuple[int, ...]) -> None:
    """`size` is width and height; the shape has rows before columns."""
    assert InputOptions(**given).shape == shape
