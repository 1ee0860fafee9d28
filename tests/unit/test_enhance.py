"""Each operation does to a picture what it says, none touches the picture given, and wrong options are refused."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.core.errors import ConfigError
from edge_vision.core.scene import Scene
from edge_vision.preprocess.calibration import read_calibration
from edge_vision.preprocess.enhance import _OPERATIONS, Enhance, EnhanceOptions
from edge_vision.testing.contracts import check_stage
from edge_vision.testing.fakes import make_frame

LENS: dict[str, Any] = {
    "image_width": 160,
    "image_height": 120,
    "camera_matrix": {"rows": 3, "cols": 3, "dt": "d", "data": [140, 0, 80, 0, 140, 60, 0, 0, 1]},
    "distortion_coefficients": {"rows": 5, "cols": 1, "dt": "d", "data": [-0.3, 0.1, 0, 0, 0]},
}


def _scene(image: NDArray[np.uint8]) -> Scene:
    return Scene(make_frame(image, index=7, media_ns=280_000_000))


def _done(image: NDArray[np.uint8], *operations: dict[str, Any]) -> NDArray[np.uint8]:
    """The picture after some operations."""
    options = EnhanceOptions.model_validate({"kind": "enhance", "operations": operations})
    return Enhance(options)(_scene(image)).frame.image


@pytest.fixture(name="picture")
def _picture() -> NDArray[np.uint8]:
    """A dim, bluish picture of 160x120: a slope of gray from 60 to 100 with noise and a bright square."""
    rng = np.random.default_rng(1)
    slope = np.tile(np.linspace(60, 100, 160), (120, 1))
    slope[40:60, 60:80] = 120
    image = slope[..., None] + rng.normal(0, 4, (120, 160, 3))
    return np.asarray(np.clip(image * (1.1, 1.0, 1.0), 0, 255), np.uint8)


@pytest.fixture(name="lens")
def _lens(tmp_path: Path) -> Path:
    """A calibration in JSON."""
    (tmp_path / "lens.json").write_text(json.dumps(LENS))
    return tmp_path / "lens.json"


GIVEN: dict[str, dict[str, Any]] = {
    "clahe": {"clip_limit": 3, "tiles": 4},
    "equalize": {},
    "gaussian": {"sigma_px": 2},
    "median": {"size_px": 5},
    "bilateral": {},
    "nl_means": {"search_px": 7},
    "sharpen": {},
    "morphology": {"method": "top_hat", "size_px": 9},
    "gamma": {"gamma": 2},
    "white_balance": {},
    "undistort": {},
}


def test_every_operation_is_tested_here() -> None:
    """A new one comes with a line in this file."""
    assert set(GIVEN) == set(_OPERATIONS)


@pytest.mark.parametrize("kind", GIVEN)
def test_an_operation_hands_on_the_frame_with_another_picture(
    kind: str, picture: NDArray[np.uint8], lens: Path
) -> None:
    """Same index, times, source and size; the old picture stays as it was, the new one cannot be written to."""
    given = {"kind": kind, **GIVEN[kind], **({"file": str(lens)} if kind == "undistort" else {})}
    options = EnhanceOptions.model_validate({"kind": "enhance", "operations": [given]})
    after = check_stage(lambda: Enhance(options), _scene(picture), repaints=True)
    assert not np.array_equal(after.frame.image, picture)


def test_no_operation_is_no_change(picture: NDArray[np.uint8]) -> None:
    """The very scene comes back, not a copy."""
    scene = _scene(picture)
    assert Enhance(EnhanceOptions(kind="enhance"))(scene) is scene


def test_a_picture_that_is_held_never_changes(picture: NDArray[np.uint8]) -> None:
    """Twenty frames kept: each keeps its pixels, although the pool has room for eight."""
    stage = Enhance(EnhanceOptions.model_validate({"kind": "enhance", "operations": [{"kind": "gamma", "gamma": 1.0}]}))
    held = [stage(_scene(np.asarray(picture + number, np.uint8))).frame.image for number in range(20)]
    for number, image in enumerate(held):
        assert np.array_equal(image, picture + number)


def test_a_picture_that_nobody_holds_is_used_again(picture: NDArray[np.uint8]) -> None:
    """No fresh memory per frame: over a hundred frames there are few buffers."""
    stage = Enhance(EnhanceOptions.model_validate({"kind": "enhance", "operations": [{"kind": "equalize"}]}))
    places = {stage(_scene(picture)).frame.image.ctypes.data for _ in range(100)}
    assert len(places) <= 3


def test_operations_run_in_the_order_given(picture: NDArray[np.uint8]) -> None:
    """Dilate then erode closes, erode then dilate opens."""
    dilate, erode = ({"kind": "morphology", "method": name, "size_px": 5} for name in ("dilate", "erode"))
    closed, opened = _done(picture, dilate, erode), _done(picture, erode, dilate)
    assert np.array_equal(closed, _done(picture, {"kind": "morphology", "method": "close", "size_px": 5}))
    assert np.array_equal(opened, _done(picture, {"kind": "morphology", "method": "open", "size_px": 5}))
    assert not np.array_equal(closed, opened)


def test_contrast_is_raised(picture: NDArray[np.uint8]) -> None:
    """Equalizing spreads the levels over the whole range, CLAHE raises the deviation within a tile by a quarter."""
    assert np.ptp(np.percentile(_done(picture, {"kind": "equalize"}), (2, 98))) > 220
    tile = slice(100, 115), slice(100, 120)
    assert _done(picture, {"kind": "clahe"})[tile].std() > 1.25 * picture[tile].std()


@pytest.mark.parametrize("kind", ["gaussian", "median", "bilateral", "nl_means"])
def test_noise_is_removed(kind: str, picture: NDArray[np.uint8]) -> None:
    """Away from edges the deviation falls to less than two thirds."""
    flat = slice(70, 118), slice(4, 40)
    assert _done(picture, {"kind": kind})[flat].std(axis=0).mean() < 0.66 * picture[flat].std(axis=0).mean()


def test_a_median_keeps_an_edge_and_removes_a_speck() -> None:
    """One white pixel goes; a step stays as steep as it was."""
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:], image[5, 3] = 200, 255
    image_after = _done(image, {"kind": "median"})
    assert image_after[5, 3].tolist() == [0, 0, 0]
    assert image_after[10, 9:11, 0].tolist() == [0, 200]


def test_sharpening_steepens_an_edge() -> None:
    """Beside a step it undershoots and overshoots; where it is flat nothing changes."""
    image = np.full((20, 40, 3), 80, np.uint8)
    image[:, 20:] = 160
    row = _done(image, {"kind": "sharpen", "amount": 1.0})[10, :, 0]
    assert row[19] < 80
    assert row[20] > 160
    assert row[2] == 80
    assert row[37] == 160


def test_a_top_hat_keeps_small_bright_things_alone() -> None:
    """A dot of 3 px stays, a square of 15 px and the background go."""
    image = np.full((60, 60, 3), 50, np.uint8)
    image[10:13, 10:13], image[30:45, 30:45] = 200, 200
    after = _done(image, {"kind": "morphology", "method": "top_hat", "shape": "rectangle", "size_px": 7})
    assert after[11, 11].tolist() == [150, 150, 150]
    assert after[37, 37].tolist() == [0, 0, 0]
    assert after[50, 5].tolist() == [0, 0, 0]


@pytest.mark.parametrize("gamma, expected", [(1.0, 64), (2.0, 128), (0.5, 16)])
def test_gamma_follows_the_formula(gamma: float, expected: int) -> None:
    """255 * (64 / 255) ** (1 / gamma); black and white stay."""
    image = np.zeros((4, 4, 3), np.uint8)
    image[0], image[1] = 64, 255
    after = _done(image, {"kind": "gamma", "gamma": gamma})
    assert after[0, 0, 0] == expected
    assert after[1, 0, 0] == 255
    assert after[2, 0, 0] == 0


@pytest.mark.parametrize("strength, cast", [(1.0, 1.0), (0.0, 1.5)])
def test_white_balance_takes_a_cast_away(strength: float, cast: float) -> None:
    """A blue that is half as much again as red becomes equal to it, or stays where it is told to."""
    image = np.full((40, 40, 3), (150, 100, 100), np.uint8)
    after = _done(image, {"kind": "white_balance", "strength": strength})
    assert after[..., 0].mean() / after[..., 2].mean() == pytest.approx(cast, abs=0.02)


def test_a_bent_line_is_straight_again(lens: Path) -> None:
    """Points of a straight line, bent as the lens bends them and drawn, lie on a line to half a pixel after."""
    known = read_calibration(lens)
    straight = np.stack([np.linspace(20, 140, 60), np.full(60, 10.0)], axis=1)
    rays = (straight - known.matrix[:2, 2]) / known.matrix[[0, 1], [0, 1]]
    bent = cv2.projectPoints(
        np.column_stack([rays, np.ones(60)]), np.zeros(3), np.zeros(3), known.matrix, known.distortion
    )[0].reshape(-1, 2)
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.polylines(image, [np.rint(bent * 16).astype(np.int32)], False, (255, 255, 255), 1, cv2.LINE_AA, 4)
    after = _done(image, {"kind": "undistort", "file": str(lens)})[..., 0].astype(float)

    def bow(light: NDArray[np.floating]) -> float:
        columns = np.flatnonzero(light.sum(axis=0) > 200)[4:-4]
        rows = (light[:, columns] * np.arange(len(light))[:, None]).sum(axis=0) / light[:, columns].sum(axis=0)
        return float(np.abs(rows - np.polyval(np.polyfit(columns, rows, 1), columns)).max())

    assert bow(image[..., 0].astype(float)) > 1.0
    assert bow(after) < 0.5


def test_a_lens_of_another_picture_size_is_an_error(lens: Path) -> None:
    """It names the file and both sizes; the size it wants is known beforehand."""
    options = EnhanceOptions.model_validate(
        {"kind": "enhance", "operations": [{"kind": "undistort", "file": str(lens)}]}
    )
    assert options.frame_wh == (160, 120)
    with pytest.raises(ConfigError, match=r"lens.json was made with pictures of 160x120, the frames have 64x48"):
        Enhance(options)(Scene(make_frame()))


def test_a_calibration_is_read_as_opencv_writes_it(tmp_path: Path) -> None:
    """YAML and JSON of cv2.FileStorage, without OpenCV's help."""
    matrix, distortion = np.array([[800.5, 0, 320], [0, 801, 240], [0, 0, 1]]), np.array([[-0.1, 0.02, 0, 0, 1e-3]])
    for name in ("lens.yaml", "lens.yml", "lens.json"):
        storage = cv2.FileStorage(str(tmp_path / name), cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 640)
        storage.write("image_height", 480)
        storage.write("camera_matrix", matrix)
        storage.write("distortion_coefficients", distortion)
        storage.release()
        found = read_calibration(tmp_path / name)
        assert found.wh == (640, 480)
        assert np.array_equal(found.matrix, matrix)
        assert np.array_equal(found.distortion, distortion[0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_width": None}, "needs image_width and image_height"),
        ({"image_width": -4}, "needs image_width and image_height"),
        ({"camera_matrix": None}, "needs camera_matrix with its numbers"),
        ({"camera_matrix": [[1, 0], [0, 1]]}, "is no camera matrix"),
        ({"camera_matrix": {"data": [0, 0, 80, 0, 140, 60, 0, 0, 1]}}, "is no camera matrix"),
        ({"distortion_coefficients": [0.1, 0.2]}, "has 2 numbers, OpenCV takes 4, 5, 8, 12 or 14"),
        ({"distortion_coefficients": ["a"]}, "needs distortion_coefficients with its numbers"),
    ],
)
def test_a_calibration_that_is_none_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """At once, with what is missing."""
    content = {key: value for key, value in {**LENS, **change}.items() if value is not None}
    (tmp_path / "lens.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_calibration(tmp_path / "lens.json")


@pytest.mark.parametrize(
    "content, message", [(None, "no such file"), ("- 1\n", "holds no names"), ("a: [", "is not a YAML or JSON file")]
)
def test_a_file_that_is_no_calibration_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    """Also one that is not there, is no mapping, or cannot be parsed."""
    if content is not None:
        (tmp_path / "lens.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_calibration(tmp_path / "lens.yaml")


@pytest.mark.parametrize(
    "operation, message",
    [
        ({"kind": "median", "size_px": 4}, "must be odd"),
        ({"kind": "median", "size_px": 101}, "less than or equal to 99"),
        ({"kind": "gamma"}, "Field required"),
        ({"kind": "gamma", "gamma": 0}, "greater than or equal to 0.1"),
        ({"kind": "clahe", "clip_limit": 0}, "greater than 0"),
        ({"kind": "morphology", "method": "thin"}, "'open', 'close'"),
        ({"kind": "blur"}, "does not match any of the expected tags"),
        ({"kind": "undistort", "file": "/nowhere/lens.yaml"}, "no such file"),
        ({"kind": "equalize", "tiles": 3}, "Extra inputs are not permitted"),
    ],
)
def test_options_have_limits(operation: dict[str, Any], message: str) -> None:
    """What is out of range or unknown is an error of that option."""
    with pytest.raises(ValidationError, match=message):
        EnhanceOptions.model_validate({"kind": "enhance", "operations": [operation]})
