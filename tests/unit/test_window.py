"""A window holds the frames that a network of clips is to see: the right ones, in order, and none from elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RANDOM
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.app.network import Looker
from edge_vision.core.detections import Detections
from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.scene import ServedModel
from edge_vision.core.tensor import Tensors
from edge_vision.inference.opencv_dnn import OpenCvDnn
from edge_vision.inference.slots import Slots
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions
from edge_vision.preprocess.window import Window, preprocessor_of
from edge_vision.testing.fakes import FakeClock, FakeSession

MS = 1_000_000


def options(**more: Any) -> InputOptions:
    """Of a network that looks at three frames."""
    return InputOptions.model_validate(
        {"size": (32, 24), "layout": "ncthw", "frames": 3, "scale": 1 / 255, "mean": (0.4, 0.5, 0.6), **more}
    )


def pictures(count: int, wh: tuple[int, int] = (50, 40)) -> list[NDArray[np.uint8]]:
    """Noise."""
    return [RANDOM.integers(0, 256, (wh[1], wh[0], 3), np.uint8) for _ in range(count)]


def taken(window: Window, times_ms: Sequence[float]) -> list[int]:
    """The places of the frames at these times that go into a window which is given them; each frame is its place."""
    seen: list[int] = []
    for place, time_ms in enumerate(times_ms):
        clip = window.take(np.full((24, 32, 3), place, np.uint8), round(time_ms * MS))
        if clip is not None:
            (value,) = clip.tensors.values()
            last = value[0, 0, :, 12, 16]
            seen = [*seen, *(int(one) for one in last if int(one) not in seen)]
    return seen


@pytest.mark.parametrize("layout", ["ncthw", "nthwc"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_clip_is_its_frames_in_order(layout: str, dtype: str) -> None:
    """Nothing while there are too few; then the last three, oldest first, each prepared like a picture."""
    plain: dict[str, Any] = {"scale": 1.0, "mean": (0.0, 0.0, 0.0)} if dtype == "uint8" else {}
    settings = options(layout=layout, dtype=dtype, **plain)
    if dtype == "uint8":
        settings = InputOptions(size=(32, 24), layout=settings.layout, frames=3, dtype="uint8")
    window, single = Window(settings, "clip"), LetterboxPreprocessor(settings.picture, "one")
    given = pictures(7)
    axis = 1 if layout == "ncthw" else 0
    for number, image in enumerate(given):
        clip = window.take(image, number * 40 * MS)
        if number < 2:
            assert clip is None
            assert not window.is_full
            continue
        assert clip is not None
        assert window.is_full
        (value,) = clip.tensors.values()
        assert value.shape == settings.shape == ((1, 3, 3, 24, 32) if layout == "ncthw" else (1, 3, 24, 32, 3))
        assert value.dtype == dtype
        assert value.flags.c_contiguous
        expected = [single(one).tensors["one"][0].copy() for one in given[number - 2 : number + 1]]
        np.testing.assert_array_equal(value[0], np.stack(expected, axis=axis))
        assert clip.letterbox == Letterbox.fit((50, 40), (32, 24))


def test_one_buffer_serves_every_clip() -> None:
    """A runtime binds it once."""
    window = Window(options(), "clip")
    clips = [window.take(image, number * MS) for number, image in enumerate(pictures(5))]
    arrays = [clip.tensors["clip"] for clip in clips if clip is not None]
    assert len(arrays) == 3
    assert all(array is arrays[0] for array in arrays)


@pytest.mark.parametrize(
    "fps, times_ms, expected",
    [
        (None, [0, 40, 80, 81], [0, 1, 2, 3]),
        (12.5, [0, 40, 80, 120, 160, 200, 240], [0, 2, 4, 6]),
        (25.0, [number * 100 / 3 for number in range(13)], [0, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
        (12.5, [0, 41, 79, 122, 158, 201, 240], [0, 2, 4, 6]),  # a camera that is not exact
        (12.5, [0, 40, 120, 160, 280, 320], [0, 2, 3, 4, 5]),  # frames that were dropped
        (25.0, [0, 100, 200, 300], [0, 1, 2, 3]),  # a camera that is slower than the network wants
    ],
)
def test_media_time_decides_which_frames_go_in(fps: float | None, times_ms: list[float], expected: list[int]) -> None:
    """So many per second, however many the camera gives."""
    assert taken(Window(options(fps=fps, scale=1.0, mean=(0, 0, 0)), "clip"), times_ms) == expected


@pytest.mark.parametrize(
    "times_ms, expected",
    [
        ([0, 40, 80, 10, 50, 90], [0, 1, 2, 3, 4, 5]),
        ([0, 40, 10, 50, 90], [2, 3, 4]),  # the clock jumps back: the first two are of another time
        ([0, 40, 10_041, 10_081, 10_121], [2, 3, 4]),
        ([0, 40, 10_039], [0, 1, 2]),
        ([100, 140, 100, 140], []),
    ],
)
def test_a_clock_that_jumps_begins_a_new_window(times_ms: list[float], expected: list[int]) -> None:
    """Backwards after a reconnection, forwards after a long pause."""
    window = Window(options(scale=1.0, mean=(0, 0, 0)), "clip")
    assert taken(window, times_ms) == expected


def test_pictures_of_another_size_begin_a_new_window() -> None:
    """A camera that was set up anew looks elsewhere."""
    window = Window(options(), "clip")
    for number, image in enumerate(pictures(4)):
        window.take(image, number * MS)
    assert window.is_full
    assert window.take(pictures(1, (60, 40))[0], 5 * MS) is None
    assert not window.is_full


def test_a_picture_without_a_time_is_a_still_clip() -> None:
    """As golden data have it; it does not stand for what a camera saw before."""
    window = preprocessor_of(options(), "clip")
    assert isinstance(window, Window)
    for number, image in enumerate(pictures(4)):
        window.take(image, number * MS)
    (image,) = pictures(1)
    (value,) = window(image).tensors.values()
    single = LetterboxPreprocessor(options().picture, "one")(image).tensors["one"]
    np.testing.assert_array_equal(value, np.repeat(single[:, :, None], 3, axis=2))
    assert not window.is_full
    assert isinstance(preprocessor_of(options().picture, "one"), LetterboxPreprocessor)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"layout": "ncthw", "frames": None}, "layout ncthw is for clips: say with frames how many"),
        ({"layout": "nchw"}, "frames is for clips: layout is ncthw or nthwc then, not nchw"),
        ({"layout": "nchw", "frames": None, "fps": 5}, "fps is for clips: say with frames how many"),
    ],
)
def test_settings_that_do_not_fit_each_other(given: dict[str, Any], message: str) -> None:
    """A clip has a number of frames, and a picture has none."""
    with pytest.raises(ValidationError, match=message):
        options(**given)


def test_a_network_is_asked_only_about_a_new_clip() -> None:
    """Not while there are too few frames; between two that are due, what the last clip showed stands."""
    asked: list[float] = []

    def answer(tensors: Tensors) -> Tensors:
        (value,) = tensors.values()
        asked.append(float(value[0, 0, -1, 0, 0]))
        return {"out": value}

    def decode(tensors: Tensors, letterbox: Letterbox) -> Detections:
        assert tensors
        box = np.array([[0, 0, *letterbox.source_wh]], np.float32)
        return Detections(box, np.array([len(asked) / 10], np.float32), np.zeros(1, np.int32))

    window = Window(options(fps=10, scale=1.0, mean=(0, 0, 0)), "clip")
    model = ServedModel("clips", "fake", "FAKE", "f32", ("x",))
    looker = Looker(window, FakeSession(answer), decode, model, Slots("FAKE", 1), 1.0, 0, FakeClock())
    seen = []
    for number, time_ms in enumerate([0, 50, 100, 150, 200, 250, 300, 10, 110]):
        found = looker.watch(np.full((24, 32, 3), number, np.uint8), time_ms * MS)
        seen.append(found.confidence.tolist())
        assert list(looker.steps_ns) == sorted(looker.steps_ns)
    assert asked == [4.0, 6.0]
    tenth, fifth = [pytest.approx(0.1)], [pytest.approx(0.2)]
    assert seen == [[], [], [], [], tenth, tenth, fifth, [], []]


def test_opencv_does_not_take_clips() -> None:
    """It refuses some ways to pool over time, and computes another wrongly: it is passed over, with that reason."""
    file = ModelFile(Path("clips.onnx"), "onnx", (1, 3, 8, 32, 32))
    reason = r"does not run networks that look at clips \(input \[1, 3, 8, 32, 32\]\): OpenCV .* ReduceMean"
    with pytest.raises(BackendUnavailableError, match=reason):
        OpenCvDnn().load(file, LoadOptions())
