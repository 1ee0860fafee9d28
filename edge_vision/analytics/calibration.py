"""Where on the floor a point of the picture is: a homography from points that were measured."""

from itertools import combinations
from typing import Annotated, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.places import Point
from edge_vision.core.options import Number, Options

_LEAST: Final = 4
"""A homography has eight unknowns, and a point gives two equations."""
_FLAT: Final = 0.005
"""A triangle so flat, height by longest side, is a line: it would make the result tremble with the last pixel."""

_Meters: TypeAlias = Annotated[Number, Field(ge=-10_000, le=10_000)]
FloorPoint: TypeAlias = tuple[_Meters, _Meters]
"""x and y in meters on the floor, from an origin and along axes of one's own choice."""


class CalibrationOptions(Options):
    """Points on the floor, in the picture and as measured: four corners of a rectangle will do, more average out."""

    points: tuple[Point, ...] = Field(
        min_length=_LEAST, max_length=16, description="Points on the floor, [x, y] in 0..1 of the picture."
    )
    meters: tuple[FloorPoint, ...] = Field(
        min_length=_LEAST, max_length=16, description="The same points in the same order, [x, y] in meters."
    )
    tolerance_m: Number = Field(
        0.25, gt=0, le=100, description="How far a point may lie from where all together put it; four always fit."
    )

    @model_validator(mode="after")
    def _is_a_floor(self) -> "CalibrationOptions":
        if len(self.points) != len(self.meters):
            msg = f"{len(self.points)} points and {len(self.meters)} meters: each point needs its place on the floor"
            raise ValueError(msg)
        picture, floor = np.array(self.points), np.array(self.meters)
        _refuse_lines(picture, "points")
        _refuse_lines(floor, "meters")
        if len(self.points) == _LEAST:
            _refuse_another_order(picture, floor)
        off = np.nan_to_num(Floor(self).residuals_m, nan=np.inf)
        worst = int(np.argmax(off))
        if off[worst] > self.tolerance_m:
            far = f"{off[worst]:.2f} m from" if np.isfinite(off[worst]) else "beyond the horizon of"
            msg = f"the {_nth(worst)} point lies {far} where all together put it; tolerance_m is {self.tolerance_m:g}"
            raise ValueError(msg)
        return self


class Floor:
    """The floor as a camera sees it."""

    def __init__(self, options: CalibrationOptions) -> None:
        picture, floor = np.array(options.points), np.array(options.meters)
        homography = fit_homography(picture, floor)
        depth = np.append(picture[0], 1.0) @ homography[2]
        self._homography = homography / depth
        """Of points in 0..1; its third row is 1 at the first point, 0 at the horizon and negative above it."""
        self.residuals_m = np.linalg.norm(self.places(picture, (1, 1)) - floor, axis=1)
        """How far each point lies from where it is said to be, in meters."""

    def places(self, points: NDArray[np.floating], wh: tuple[int, int]) -> NDArray[np.float64]:
        """Pixels (..., 2) of a picture of `wh` in meters on the floor; NaN for what lies at the horizon or above."""
        along = (points / np.array(wh, np.float64)) @ self._homography[:, :2].T + self._homography[:, 2]
        depth = along[..., 2:]
        return np.asarray(along[..., :2] / np.where(depth > _AT_HORIZON, depth, np.nan))

    def area_m2(self, polygon: tuple[Point, ...]) -> float:
        """The area of a polygon in 0..1 of the picture, in square meters; NaN where it reaches the horizon."""
        x, y = self.places(np.array(polygon), (1, 1)).T
        return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


_AT_HORIZON: Final = 1e-3
"""A thousand times farther away than the first point: no place that anybody could measure."""


def fit_homography(picture: NDArray[np.float64], floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (3, 3) matrix that takes points (n, 2) nearest to points (n, 2); exact for four.

    The direct linear transform with both sides moved and scaled first (Hartley, In Defense of the Eight-Point
    Algorithm, PAMI 1997).
    """
    before, after = _to_unit(picture), _to_unit(floor)
    zeros = np.zeros((len(picture), 3))
    source = np.column_stack([_moved(before, picture), np.ones(len(picture))])
    u, v = _moved(after, floor).T[:, :, None]
    rows = np.concatenate([np.hstack([source, zeros, -u * source]), np.hstack([zeros, source, -v * source])])
    solution = np.linalg.svd(rows)[2][-1].reshape(3, 3)
    return np.asarray(np.linalg.inv(after) @ solution @ before)


def _to_unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (3, 3) matrix that brings points around 0, at a mean distance of the square root of 2."""
    center = points.mean(axis=0)
    scale = np.sqrt(2.0) / np.linalg.norm(points - center, axis=1).mean()
    return np.array([[scale, 0.0, -scale * center[0]], [0.0, scale, -scale * center[1]], [0.0, 0.0, 1.0]])


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def _flatness(points: NDArray[np.float64], triple: tuple[int, ...]) -> float:
    """The height of a triangle by its longest side, with the sign of its direction of turning."""
    one, two, three = points[list(triple)]
    sides = np.array([two - one, three - one, three - two])
    longest = float((sides**2).sum(axis=1).max())
    turn = float(sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0])
    return turn / longest if longest > 0 else 0.0


def _refuse_lines(points: NDArray[np.float64], name: str) -> None:
    """Four points must be there of which no three are on a line."""
    flat = {triple for triple in combinations(range(len(points)), 3) if abs(_flatness(points, triple)) < _FLAT}
    fours = combinations(range(len(points)), _LEAST)
    if not flat or any(flat.isdisjoint(combinations(four, 3)) for four in fours):
        return
    which = ", ".join(_nth(number) for number in min(flat))
    many = "" if len(points) == _LEAST else "no four can be found without three on a line; "
    msg = f"{name}: {many}the {which} are (nearly) on one line, and tell nothing across it"
    raise ValueError(msg)


def _refuse_another_order(picture: NDArray[np.float64], floor: NDArray[np.float64]) -> None:
    """A camera above the floor sees every three points turn as they do on the floor, or all of them mirrored."""
    if _same_order(picture, floor):
        return
    for one, other in combinations(range(len(picture)), 2):
        swapped = floor.copy()
        swapped[[one, other]] = floor[[other, one]]
        if _same_order(picture, swapped):
            hint = f"; are the {_nth(one)} and the {_nth(other)} of one of them swapped?"
            break
    else:
        hint = ""
    msg = f"points and meters do not go around in the same order, as the sides of one of them cross{hint}"
    raise ValueError(msg)


def _same_order(picture: NDArray[np.float64], floor: NDArray[np.float64]) -> bool:
    turns = {
        _flatness(picture, triple) * _flatness(floor, triple) > 0
        for triple in combinations(range(len(picture)), 3)
        if min(abs(_flatness(picture, triple)), abs(_flatness(floor, triple))) > _FLAT
    }
    return len(turns) == 1


def _nth(number: int) -> str:
    return ("1st", "2nd", "3rd")[number] if number < 3 else f"{number + 1}th"  # noqa: PLR2004 - as English counts
