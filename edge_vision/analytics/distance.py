"""Measures how far each object is from the nearest other one."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.ground import Ground, GroundOptions, between, distances
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact


class DistanceOptions(GroundOptions):
    """Measures how far objects are from the nearest other one on the floor: attribute `distance_m`."""

    kind: Literal["distance"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to measure; all if not given.")
    to: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to measure to; all if not given.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes of known classes."""
        return frozenset({"box", "class"})


class Distance:
    """From the middle of an object's lower side, where it stands, to the nearest point of the other's lower side."""

    def __init__(self, options: DistanceOptions, context: StageContext) -> None:
        self._wanted = context.chosen(options.classes)
        self._others = context.chosen(options.to)
        self._ground = Ground(options, context)

    def __call__(self, scene: Scene) -> Scene:
        """The scene with `distance_m`, NaN where there is no other or the floor is not seen."""
        seen, wh = scene.detections, scene.frame.wh
        nearest = np.full(len(seen), np.nan, np.float32)
        ones, others = np.flatnonzero(self._wanted[seen.class_id]), np.flatnonzero(self._others[seen.class_id])
        if len(ones) and len(others):
            feet, scales = self._ground.feet(seen, wh), self._ground.scales(seen, wh)
            apart = distances(feet[ones, 1], feet[others][:, [0, 2]]) * between(scales[ones], scales[others])
            nearest[ones] = _least(np.where(ones[:, None] == others[None, :], np.nan, apart))
        return replace(scene, detections=seen.with_attribute("distance_m", nearest))


def _least(apart: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(np.fmin.reduce(apart, axis=1, initial=np.nan), np.float32)
