"""Lines and zones: how they are written, where they lie in a picture, and which part of an object is looked at."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from edge_vision.core.options import Fraction, Identifier

Point: TypeAlias = tuple[Fraction, Fraction]
"""x and y in 0..1 of the picture's width and height."""


def _some_length(line: tuple[Point, Point]) -> tuple[Point, Point]:
    if line[0] == line[1]:
        msg = f"a line needs two different points, both are {list(line[0])}"
        raise ValueError(msg)
    return line


def _some_area(polygon: tuple[Point, ...]) -> tuple[Point, ...]:
    corners = np.array(polygon)
    following = np.roll(corners, -1, axis=0)
    if abs(float((corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum())) / 2 < _LEAST_AREA:
        msg = f"a zone needs an area; these {len(polygon)} points enclose none"
        raise ValueError(msg)
    return polygon


_LEAST_AREA = 1e-6
Line: TypeAlias = Annotated[tuple[Point, Point], AfterValidator(_some_length)]
Polygon: TypeAlias = Annotated[tuple[Point, ...], Field(min_length=3, max_length=256), AfterValidator(_some_area)]
NamedLines: TypeAlias = Annotated[dict[Identifier, Line], Field(min_length=1, max_length=64)]
NamedZones: TypeAlias = Annotated[dict[Identifier, Polygon], Field(min_length=1, max_length=64)]
Anchor: TypeAlias = Literal["center", "top", "bottom", "left", "right"]
"""The point of a box that counts: its center, or the middle of a side; for people who stand the bottom."""

_ANCHORS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}


def anchors_of(xyxy: NDArray[np.float32], anchor: Anchor) -> NDArray[np.float32]:
    """The point of each box (n, 4) that counts, (n, 2) in pixels."""
    x, y = _ANCHORS[anchor]
    return xyxy[:, :2] + (xyxy[:, 2:] - xyxy[:, :2]) * np.array([x, y], np.float32)


def in_pixels(points: tuple[Point, ...], wh: tuple[int, int]) -> NDArray[np.float32]:
    """Points in 0..1 as (k, 2) pixels of a picture of `wh`."""
    return np.array(points, np.float32) * np.array(wh, np.float32)


def within_picture(points: NDArray[np.float32], wh: tuple[int, int]) -> NDArray[np.float32]:
    """Points (n, 2) moved to where the picture is.

    A box that the picture cuts off ends on its very edge, which belongs to no zone, however far that reaches.
    """
    return np.clip(points, np.float32(0), np.nextafter(np.array(wh, np.float32), np.float32(0)))


def inside(points: NDArray[np.float32], polygon: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in a polygon (k, 2), by the even-odd rule; any shape, also one that crosses itself."""
    x, y = points[:, :1], points[:, 1:]
    start, end = polygon, np.roll(polygon, -1, axis=0)
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], np.float32(1.0), end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    return np.asarray((spans & (x < crossing)).sum(axis=1) % 2 == 1)
