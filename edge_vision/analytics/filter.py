"""Keeps the detections that matter."""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.core.options import Fraction, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import StageOptions


class FilterOptions(StageOptions):
    """Keeps the detections that matter; what is not given does not filter."""

    kind: Literal["filter"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to keep.")
    min_confidence: Fraction | None = Field(None, description="Lowest score to keep.")
    min_area_px: Number | None = Field(None, ge=0, description="Smallest box to keep, in square pixels.")
    max_area_px: Number | None = Field(None, gt=0, description="Largest box to keep, in square pixels.")

    @model_validator(mode="after")
    def _areas_in_order(self) -> "FilterOptions":
        if (self.min_area_px or 0.0) > (self.max_area_px or float("inf")):
            msg = f"min_area_px {self.min_area_px:g} is more than max_area_px {self.max_area_px:g}"
            raise ValueError(msg)
        return self


class Filter:
    """Drops detections by class, score and area of the box."""

    def __init__(self, options: FilterOptions, context: StageContext) -> None:
        self._options = options
        self._wanted = context.chosen(options.classes)
        self._passes_all = (
            bool(self._wanted.all())
            and options.min_confidence is None
            and options.min_area_px is None
            and options.max_area_px is None
        )

    def __call__(self, scene: Scene) -> Scene:
        """The scene with fewer detections."""
        seen, options = scene.detections, self._options
        if self._passes_all or len(seen) == 0:
            return scene
        keep = self._wanted[seen.class_id]
        if options.min_confidence is not None:
            keep &= seen.confidence >= options.min_confidence
        if options.min_area_px is not None or options.max_area_px is not None:
            area = np.prod(seen.xyxy[:, 2:] - seen.xyxy[:, :2], axis=1)
            keep &= area >= (options.min_area_px or 0.0)
            keep &= area <= (options.max_area_px or np.inf)
        return scene if keep.all() else replace(scene, detections=seen.where(keep))
