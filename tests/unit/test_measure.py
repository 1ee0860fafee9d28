"""Measurements are right where the answer is known: drawn steps, blobs and pieces of pictures."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.measures import edges, matcher, profile, width_between
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)


def _bar(left: float, right: float, wh: tuple[int, int] = (80, 40)) -> NDArray[np.uint8]:
    """A dark bar on a bright ground between two columns, as a sensor averages over its pixels: 200 and 60."""
    edge = np.arange(wh[0] + 1, dtype=np.float64)
    dark = np.clip(np.minimum(edge[1:], right) - np.maximum(edge[:-1], left), 0, 1)
    row = np.rint(200 - 140 * dark)
    return np.repeat(np.tile(row, (wh[1], 1))[..., None], 3, axis=2).astype(np.uint8)


def _measured(image: NDArray[np.uint8], seen: Detections | None = None, **options: Any) -> Scene:
    scene = Scene(make_frame(image), seen or Detections.empty(), labels=("part", "hole"))
    return build_stage(OPTIONS.validate_python({"kind": "measure", **options}), StageContext(scene.labels))(scene)


@pytest.mark.parametrize("left", [20.0, 20.25, 20.5, 20.9])
@pytest.mark.parametrize("width", [10.0, 17.3, 30.6])
def test_a_caliper_measures_to_a_tenth_of_a_pixel(left: float, width: float) -> None:
    """Wherever the edges fall between pixels; in millimeters where their size is known."""
    caliper = {"kind": "caliper", "line": [[0.1, 0.5], [0.9, 0.5]], "between": "dark"}
    after = _measured(_bar(left, left + width), measures={"bar": caliper}, mm_per_px=0.5)
    assert after.measures["bar_px"] == pytest.approx(width, abs=0.1)
    assert after.measures["bar_mm"] == pytest.approx(width / 2, abs=0.05)


def test_a_caliper_may_lie_at_an_angle() -> None:
    """At 45 degrees a bar is wider by the square root of two."""
    image = _bar(30, 50, (80, 80))
    after = _measured(image, measures={"bar": {"kind": "caliper", "line": [[0.2, 0.2], [0.8, 0.8]], "band_px": 3}})
    assert after.measures["bar_px"] == pytest.approx(20 * 2**0.5, abs=0.2)


def test_a_caliper_without_edges_measures_nothing() -> None:
    """A flat picture has no width: the figure is absent, not 0."""
    after = _measured(
        np.full((40, 80, 3), 90, np.uint8), measures={"bar": {"kind": "caliper", "line": [[0, 0], [1, 1]]}}
    )
    assert after.measures == {}


def test_a_caliper_in_noise_still_measures() -> None:
    """Averaging across a band of 15 pixels takes a deviation of 12 gray levels away."""
    rng = np.random.default_rng(3)
    noisy = np.clip(_bar(20.4, 50.7) + rng.normal(0, 12, (40, 80, 3)), 0, 255).astype(np.uint8)
    after = _measured(
        noisy, measures={"bar": {"kind": "caliper", "line": [[0.1, 0.5], [0.9, 0.5]], "band_px": 15, "sigma_px": 1.5}}
    )
    assert after.measures["bar_px"] == pytest.approx(30.3, abs=0.25)


@pytest.mark.parametrize("between, expected", [("outer", 40.0), ("inner", 5.0), ("dark", 40.0), ("bright", 20.0)])
def test_which_edges_are_meant(between: Any, expected: float) -> None:
    """Two dark bars, 10..25 and 45..50: four edges, falling, rising, falling, rising."""
    levels = np.full(70, 200.0)
    levels[10:25], levels[45:50] = 60, 60
    found = edges(levels, 1.0, 30)
    assert [round(edge.at_px, 1) for edge in found] == pytest.approx([10, 25, 45, 50], abs=0.2)
    assert [edge.step > 0 for edge in found] == [False, True, False, True]
    assert [abs(edge.step) for edge in found] == pytest.approx([140] * 4, rel=0.1)
    assert width_between(found, between) == pytest.approx(expected, abs=0.3)


def test_a_profile_reads_pixels_where_they_are() -> None:
    """Along a row from the middle of one pixel to the next, the levels are those of the pixels."""
    gray = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert profile(gray, (0, 4.5), (10, 4.5), 1).tolist() == list(range(40, 50))
    assert profile(gray, (4.5, 0), (4.5, 10), 1).tolist() == list(range(4, 100, 10))


def test_blobs_are_counted() -> None:
    """Three dark discs, a speck that is too small, and a bright disc: three, with their area."""
    image = np.full((100, 200, 3), 180, np.uint8)
    for x in (30, 80, 130):
        cv2.circle(image, (x, 50), 10, (30, 30, 30), -1)
    image[10:12, 10:12] = 30
    cv2.circle(image, (170, 50), 10, (250, 250, 250), -1)
    holes = {"kind": "blobs", "threshold": 100, "min_area_px": 20}
    after = _measured(
        image, measures={"holes": holes, "lamps": {**holes, "bright": True, "threshold": 220}}, mm_per_px=2
    )
    assert after.measures["holes_count"] == 3
    assert after.measures["holes_area_px"] == pytest.approx(3 * np.pi * 10.3**2, rel=0.06)
    assert after.measures["holes_area_mm2"] == after.measures["holes_area_px"] * 4
    assert after.measures["lamps_count"] == 1
    region = _measured(image, measures={"holes": {**holes, "region": [0.0, 0.0, 0.5, 1.0]}})
    assert region.measures["holes_count"] == 2
    opened = _measured(image, measures={"holes": {**holes, "min_area_px": 0, "open_px": 5}})
    assert opened.measures["holes_count"] == 3
    otsu = _measured(image, measures={"holes": {"kind": "blobs", "min_area_px": 20}})
    assert otsu.measures["holes_count"] == 3


def test_a_template_is_found(tmp_path: Path) -> None:
    """A piece of a picture, darker than it was: the place of its middle in the whole picture, and a score near 1."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    cv2.imwrite(str(tmp_path / "mark.png"), image[40:60, 90:120])
    look = {"kind": "template", "file": str(tmp_path / "mark.png")}
    darker = np.asarray(image * 0.6 + 10, np.uint8)
    for region in ([0, 0, 1, 1], [0.25, 0.25, 1, 1]):
        after = _measured(darker, measures={"mark": {**look, "region": region}})
        assert after.measures["mark_score"] > 0.98
        assert after.measures["mark_x_px"] == pytest.approx(105, abs=0.2)
        assert after.measures["mark_y_px"] == pytest.approx(50, abs=0.2)
    elsewhere = _measured(image, measures={"mark": {**look, "region": [0, 0, 0.5, 0.4]}})
    assert elsewhere.measures["mark_score"] < 0.7


def test_a_template_that_does_not_fit_in_measures_nothing() -> None:
    """A region smaller than the template is no error, and no score."""
    assert all(np.isnan(matcher(np.zeros((20, 20), np.uint8))(np.zeros((10, 30), np.uint8))))


def test_a_template_between_pixels_is_placed_between_them() -> None:
    """A bell moved by 0.3 pixels is found 0.3 pixels further."""
    y, x = np.mgrid[0:60, 0:80]

    def bell(middle: float) -> NDArray[np.uint8]:
        return np.asarray(np.rint(220 * np.exp(-((x + 0.5 - middle) ** 2 + (y + 0.5 - 30) ** 2) / 40)), np.uint8)

    search = matcher(bell(40.0)[20:40, 30:50])
    assert search(bell(40.3))[1:] == pytest.approx((40.3, 30.0), abs=0.05)


def test_blur_lowers_sharpness_and_light_raises_brightness() -> None:
    """Each by name, in a region of its own."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 120, (80, 120, 3)).astype(np.uint8)
    image[:, 60:] = cv2.GaussianBlur(image[:, 60:], (0, 0), 3) + 100
    left, right = [0, 0, 0.5, 1], [0.5, 0, 1, 1]
    after = _measured(
        image,
        measures={
            "left": {"kind": "sharpness", "region": left},
            "right": {"kind": "sharpness", "region": right},
            "light": {"kind": "brightness", "region": right},
        },
    ).measures
    assert after["left"] > 20 * after["right"]
    assert after["light"] == pytest.approx(160, abs=3)


def test_objects_are_measured_one_by_one() -> None:
    """Each part's own box, as attributes; other classes have none, and measures of the picture stay as they are."""
    image = np.concatenate([_bar(10.5, 20.5), _bar(10.5, 40.5)])
    seen = Detections(
        np.array([[0, 0, 80, 40], [0, 40, 80, 80], [0, 0, 5, 5]], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32),
        np.array([0, 0, 1], np.int32),
    )
    caliper = {"kind": "caliper", "line": [[0.0, 0.5], [1.0, 0.5]]}
    after = _measured(image, seen, measures={"bar": caliper}, classes=["part"])
    assert after.detections.attributes["bar_px"].dtype == np.float32
    assert after.detections.attributes["bar_px"][:2].tolist() == pytest.approx([10, 30], abs=0.1)
    assert np.isnan(after.detections.attributes["bar_px"][2])
    assert after.measures == {}


def test_objects_at_the_edge_and_of_no_size_are_measured() -> None:
    """A box beyond the picture or without an area shows at least a pixel."""
    seen = Detections(
        np.array([[-5, -5, 0, 0], [80, 40, 90, 50], [7, 7, 7, 7]], np.float32),
        np.ones(3, np.float32),
        np.zeros(3, np.int32),
    )
    after = _measured(
        np.full((40, 80, 3), 90, np.uint8), seen, measures={"light": {"kind": "brightness"}}, classes=["part"]
    )
    assert after.detections.attributes["light"].tolist() == [90, 90, 90]


@pytest.mark.parametrize(
    "measure, message",
    [
        ({"kind": "caliper"}, "Field required"),
        ({"kind": "caliper", "line": [[0, 0], [0, 0]]}, "two different points"),
        ({"kind": "blobs", "region": [0.5, 0, 0.5, 1]}, "left below right"),
        ({"kind": "brightness", "region": [0, 0, 2, 1]}, "less than or equal to 1"),
        ({"kind": "template", "file": "/nowhere/mark.png"}, "no such file"),
        ({"kind": "weight"}, "does not match any of the expected tags"),
    ],
)
def test_options_that_cannot_be_are_refused(measure: dict[str, Any], message: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=message):
        OPTIONS.validate_python({"kind": "measure", "measures": {"x": measure}})


def test_a_template_that_is_no_picture_is_an_error(tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "mark.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"mark.png: is not a picture"):
        _measured(
            np.zeros((9, 9, 3), np.uint8), measures={"x": {"kind": "template", "file": str(tmp_path / "mark.png")}}
        )
