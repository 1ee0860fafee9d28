"""Measures without a model: widths, blobs, a template, sharpness and brightness, of the picture or of each object."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.measures import (
    Gray,
    blobs,
    brightness,
    edges,
    gray_crops,
    matcher,
    profile,
    sharpness,
    width_between,
)
from edge_vision.analytics.places import Line
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.options import Fraction, Identifier, Integer, Number, Options, RelativePath
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


def _some_area(region: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if region[0] >= region[2] or region[1] >= region[3]:
        msg = f"a region is [left, top, right, bottom], with left below right and top below bottom, not {list(region)}"
        raise ValueError(msg)
    return region


Region: TypeAlias = Annotated[tuple[Fraction, Fraction, Fraction, Fraction], AfterValidator(_some_area)]
_WHOLE: Final = (0.0, 0.0, 1.0, 1.0)
_REGION = Field(_WHOLE, description="[left, top, right, bottom] in 0..1 of the picture, or of each object's box.")


class BrightnessOptions(Options):
    """The mean gray level of a region, 0..255: NAME."""

    kind: Literal["brightness"]
    region: Region = _REGION


class SharpnessOptions(Options):
    """The variance of the Laplacian of a region, low where it is blurred: NAME."""

    kind: Literal["sharpness"]
    region: Region = _REGION


class CaliperOptions(Options):
    """The distance of two edges along a line, to a fraction of a pixel: NAME_px, NAME_mm."""

    kind: Literal["caliper"]
    line: Line = Field(description="Two points in 0..1 of the picture, or of each object's box.")
    band_px: Number = Field(5.0, ge=1, le=200, description="Gray levels are averaged over so many pixels across it.")
    sigma_px: Number = Field(1.0, ge=0.5, le=10, description="How much it is smoothed along the line, in pixels.")
    min_contrast: Number = Field(30.0, gt=0, le=255, description="Steps lower than so many gray levels are no edges.")
    between: Literal["outer", "inner", "dark", "bright"] = Field(
        "outer",
        description="outer: first and last edge; inner: the nearest two; dark, bright: the ends of what is so.",
    )


class BlobsOptions(Options):
    """How many dark or bright blobs a region has: NAME_count; and their area: NAME_area_px, NAME_area_mm2."""

    kind: Literal["blobs"]
    region: Region = _REGION
    threshold: Number | None = Field(None, ge=0, le=255, description="Gray level that parts them; Otsu's if not given.")
    bright: bool = Field(False, description="Whether blobs are brighter than the threshold, and not darker.")
    open_px: Integer = Field(1, ge=1, le=99, description="What is smaller than this is removed first, in pixels.")
    min_area_px: Number = Field(10.0, ge=0, description="Smallest blob that counts, in square pixels.")


def _is_there(file: Path) -> Path:
    if why := why_not_file(file):
        msg = f"{file}: {why}"
        raise ValueError(msg)
    return file


class TemplateOptions(Options):
    """How well a picture is found in a region, and where its middle is: NAME_score, NAME_x_px, NAME_y_px."""

    kind: Literal["template"]
    region: Region = _REGION
    file: Annotated[RelativePath, AfterValidator(_is_there)] = Field(
        description="The picture to look for, in the size in which it is seen."
    )


AnyMeasure: TypeAlias = Annotated[
    BrightnessOptions | SharpnessOptions | CaliperOptions | BlobsOptions | TemplateOptions, Field(discriminator="kind")
]


class MeasureOptions(StageOptions):
    """Measures the picture, into `measures` of its message, or each object, into its `attributes`."""

    kind: Literal["measure"]
    measures: dict[Identifier, AnyMeasure] = Field(
        default_factory=dict, max_length=32, description="By name what is measured."
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=1, description="Labels of objects that are measured one by one; the picture if not given."
    )
    mm_per_px: Number | None = Field(
        None, gt=0, le=1000, description="Millimeters per pixel, where lengths are wanted."
    )

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes, where objects are measured."""
        return frozenset() if self.classes is None else frozenset({"box", "class"})


_Measured: TypeAlias = dict[str, float]
_Gauge: TypeAlias = Callable[[Gray], _Measured]
"""Measures one gray picture; what is not there is left out."""


class Measure:
    """Turns the picture gray once, and measures it, or the box of each object, by every gauge."""

    def __init__(self, options: MeasureOptions, context: StageContext) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        self._wanted = context.chosen(options.classes)
        self._gauges = [_GAUGES[one.kind](name, one, options.mm_per_px) for name, one in options.measures.items()]

    def __call__(self, scene: Scene) -> Scene:
        """The scene with more measures, or its objects with more attributes."""
        if not self._gauges:
            return scene
        seen = scene.detections
        if self._options.classes is None:
            found = self._measure(self._gray(scene.frame.image))
            return replace(scene, measures={**scene.measures, **found})
        rows = np.flatnonzero(self._wanted[seen.class_id])
        if len(rows) == 0:
            return scene
        for name, column in self._columns(scene, rows).items():
            seen = seen.with_attribute(name, column)
        return replace(scene, detections=seen)

    def _gray(self, image: NDArray[np.uint8]) -> Gray:
        return np.asarray(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2GRAY), np.uint8)

    def _measure(self, gray: Gray) -> _Measured:
        return {name: value for gauge in self._gauges for name, value in gauge(gray).items() if value == value}  # noqa: PLR0124 - NaN

    def _columns(self, scene: Scene, rows: NDArray[np.intp]) -> dict[str, NDArray[np.float32]]:
        """What was measured of the objects in `rows`, NaN where nothing was."""
        columns: dict[str, NDArray[np.float32]] = {}
        crops = gray_crops(scene.frame.image, scene.detections.xyxy[rows])
        for row, gray in zip(rows.tolist(), crops, strict=True):
            for name, value in self._measure(gray).items():
                empty = np.full(len(scene.detections), np.nan, np.float32)
                columns.setdefault(name, empty)[row] = value
        return columns


def _cut(gray: Gray, region: Region) -> Gray:
    """The part of a picture, at least one pixel."""
    height, width = gray.shape
    left, right = int(region[0] * width), max(round(region[2] * width), int(region[0] * width) + 1)
    top, bottom = int(region[1] * height), max(round(region[3] * height), int(region[1] * height) + 1)
    return gray[min(top, height - 1) : bottom, min(left, width - 1) : right]


def _brightness(name: str, options: BrightnessOptions, mm_per_px: float | None) -> _Gauge:
    del mm_per_px
    return lambda gray: {name: brightness(_cut(gray, options.region))}


def _sharpness(name: str, options: SharpnessOptions, mm_per_px: float | None) -> _Gauge:
    del mm_per_px
    return lambda gray: {name: sharpness(_cut(gray, options.region))}


def _caliper(name: str, options: CaliperOptions, mm_per_px: float | None) -> _Gauge:
    def gauge(gray: Gray) -> _Measured:
        size = np.array([gray.shape[1], gray.shape[0]], np.float64)
        (x0, y0), (x1, y1) = (np.array(point) * size for point in options.line)
        levels = profile(gray, (x0, y0), (x1, y1), options.band_px)
        found = edges(levels, options.sigma_px, options.min_contrast)
        width = width_between(found, options.between)
        return {f"{name}_px": width, **({} if mm_per_px is None else {f"{name}_mm": width * mm_per_px})}

    return gauge


def _blobs(name: str, options: BlobsOptions, mm_per_px: float | None) -> _Gauge:
    def gauge(gray: Gray) -> _Measured:
        region = _cut(gray, options.region)
        count, area = blobs(
            region,
            options.threshold,
            bright=options.bright,
            open_px=options.open_px,
            min_area_px=options.min_area_px,
        )
        found = {f"{name}_count": float(count), f"{name}_area_px": area}
        return found if mm_per_px is None else {**found, f"{name}_area_mm2": area * mm_per_px**2}

    return gauge


def _template(name: str, options: TemplateOptions, mm_per_px: float | None) -> _Gauge:
    del mm_per_px
    cv2: Any = require("cv2", "cpu")
    template = cv2.imread(str(options.file), cv2.IMREAD_GRAYSCALE)
    if template is None:
        msg = f"{options.file}: is not a picture that can be decoded"
        raise ConfigError(msg)
    search = matcher(np.asarray(template, np.uint8))

    def gauge(gray: Gray) -> _Measured:
        score, x, y = search(_cut(gray, options.region))
        left, top = int(options.region[0] * gray.shape[1]), int(options.region[1] * gray.shape[0])
        return {f"{name}_score": score, f"{name}_x_px": left + x, f"{name}_y_px": top + y}

    return gauge


_GAUGES: Final[dict[str, Callable[[str, Any, float | None], _Gauge]]] = {
    "brightness": _brightness,
    "sharpness": _sharpness,
    "caliper": _caliper,
    "blobs": _blobs,
    "template": _template,
}
"""What does each kind of measurement."""
