"""Where objects stand and how far that is: in meters on a calibrated floor, else by how tall they look."""

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.analytics.calibration import CalibrationOptions, Floor
from edge_vision.analytics.context import StageContext
from edge_vision.core.detections import Detections
from edge_vision.core.options import Number
from edge_vision.core.stages import StageOptions

RIM: Final = 0.01
"""What ends so near to the rim of the picture, as a share of its size, may be cut off by it."""
_TALL: Final = 2.4
"""A person who stands is so many times as tall as wide, or more: what is cut off is taken to be so tall."""


class GroundOptions(StageOptions):
    """How pixels become meters: by a calibration of the floor or, without one, by how tall things are."""

    names_labels: ClassVar[tuple[str, ...]] = ("classes", "to", "heights_m")

    calibration: CalibrationOptions | None = Field(
        None, description="Points of the floor that were measured; without them heights_m is what there is."
    )
    heights_m: dict[str, Number] = Field(
        default_factory=lambda: {"person": 1.7},
        max_length=64,
        description="Without calibration: how tall the objects of a label are, in meters; others have no distances.",
    )


class Ground:
    """Turns boxes into places on the floor.

    Without a calibration an object of known height is a ruler that stands where it is. What lies beside it at the same
    depth is measured to within its error in height; what lies in front of it or behind it seems nearer than it is, by
    the tangent of the angle at which the camera looks down: to 0.58 of the truth at 30 degrees.
    """

    def __init__(self, options: GroundOptions, context: StageContext) -> None:
        self._floor = None if options.calibration is None else Floor(options.calibration)
        heights = [options.heights_m.get(label, np.nan) for label in context.labels]
        self._heights_m = np.array(heights, np.float64)

    def feet(self, seen: Detections, wh: tuple[int, int]) -> NDArray[np.float64]:
        """The left end, the middle and the right end of the lower side of each box, (n, 3, 2), see `places`."""
        left, bottom, right = (seen.xyxy[:, column].astype(np.float64) for column in (0, 3, 2))
        points = np.stack([left, bottom, (left + right) / 2, bottom, right, bottom], axis=1).reshape(-1, 3, 2)
        return self.places(points, wh)

    def places(self, points: NDArray[np.floating], wh: tuple[int, int]) -> NDArray[np.float64]:
        """Points (..., 2) of the picture in the unit that `scales` turns into meters; NaN where there is no floor."""
        return points.astype(np.float64) if self._floor is None else self._floor.places(points, wh)

    def scales(self, seen: Detections, wh: tuple[int, int]) -> NDArray[np.float64]:
        """Meters per unit of `places` at each object (n,); NaN for those of unknown height.

        Of a box that is cut off by the upper or lower rim the height is not known: it is taken for a slim one.
        """
        if self._floor is not None:
            return np.ones(len(seen))
        width, height = (seen.xyxy[:, 2:] - seen.xyxy[:, :2]).astype(np.float64).T
        cut = (seen.xyxy[:, 1] <= RIM * wh[1]) | (seen.xyxy[:, 3] >= (1.0 - RIM) * wh[1])
        height = np.where(cut, np.maximum(height, _TALL * width), height)
        return np.asarray(self._heights_m[seen.class_id] / np.maximum(height, 1.0))


def distances(points: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far points (n, 2) are from the nearest point of segments (m, 2, 2), (n, m)."""
    # By component: sums over a last axis of two are ten times slower.
    x, y = points[:, 0, None] - sides[:, 0, 0], points[:, 1, None] - sides[:, 0, 1]
    across, down = sides[:, 1, 0] - sides[:, 0, 0], sides[:, 1, 1] - sides[:, 0, 1]
    squared = across**2 + down**2
    share = np.clip((x * across + y * down) / np.where(squared > 0, squared, 1.0), 0.0, 1.0)
    return np.asarray(np.hypot(x - share * across, y - share * down))


def between(scales: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Meters per unit between objects (n,) and objects (m,), as (n, m): the mean of both, or the one that is known."""
    one, other = scales[:, None], others[None, :]
    return np.where(np.isnan(one), other, np.where(np.isnan(other), one, (one + other) / 2))
