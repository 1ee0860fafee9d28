"""Keeps the detections that matter."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Anchor, Areas, NamedZones
from edge_vision.core.options import Fraction, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_MEASURES: Final = ("area_px", "area", "aspect", "width_px", "height_px")
"""What has a min_ and a max_ option."""


class FilterOptions(StageOptions):
    """Keeps the detections that matter; what is not given does not filter. Limits themselves are kept."""

    kind: Literal["filter"]
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to keep.")
    min_confidence: Fraction | None = Field(None, description="Lowest score to keep.")
    min_area_px: Number | None = Field(None, ge=0, description="Smallest box to keep, in square pixels.")
    max_area_px: Number | None = Field(None, gt=0, description="Largest box to keep, in square pixels.")
    min_area: Fraction | None = Field(None, description="Smallest box to keep, as a share of the picture.")
    max_area: Number | None = Field(None, gt=0, le=1, description="Largest box to keep, as a share of the picture.")
    min_aspect: Number | None = Field(None, ge=0, description="Narrowest box to keep: its width by its height.")
    max_aspect: Number | None = Field(None, gt=0, description="Widest box to keep: its width by its height.")
    min_width_px: Number | None = Field(None, ge=0, description="Least width to keep, in pixels.")
    max_width_px: Number | None = Field(None, gt=0, description="Greatest width to keep, in pixels.")
    min_height_px: Number | None = Field(None, ge=0, description="Least height to keep, in pixels.")
    max_height_px: Number | None = Field(None, gt=0, description="Greatest height to keep, in pixels.")
    zones_keep: NamedZones | None = Field(
        None, description="Keep what is in one of these: by name three or more points [x, y] in 0..1."
    )
    zones_drop: NamedZones | None = Field(None, description="Drop what is in one of these, also where they overlap.")
    anchor: Anchor = Field("center", description="The point of the box that has to be in a zone.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Classes where some are named, boxes where places or sizes matter."""
        sizes = any(getattr(self, f"{end}_{name}") is not None for name in _MEASURES for end in ("min", "max"))
        of_boxes: frozenset[Fact] = frozenset({"box"} if sizes or self.zones_keep or self.zones_drop else ())
        return of_boxes | ({"class"} if self.classes else set())

    @model_validator(mode="after")
    def _limits_in_order(self) -> "FilterOptions":
        for name in _MEASURES:
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least is not None and most is not None and least > most:
                msg = f"min_{name} {least:g} is more than max_{name} {most:g}"
                raise ValueError(msg)
        return self


class Filter:
    """Drops detections by class, score, size, shape and place of the box."""

    def __init__(self, options: FilterOptions, context: StageContext) -> None:
        self._wanted = context.chosen(options.classes)
        self.retune(options)
        self._keep = None if options.zones_keep is None else Areas(options.zones_keep, options.anchor)
        self._drop = None if options.zones_drop is None else Areas(options.zones_drop, options.anchor)

    def retune(self, options: FilterOptions) -> None:
        """Another confidence from the next frame on."""
        self._options = options
        self._looks_at_boxes = "box" in options.needs
        self._passes_all = bool(self._wanted.all()) and options.min_confidence is None and not self._looks_at_boxes

    def __call__(self, scene: Scene) -> Scene:
        """The scene with fewer detections."""
        seen, options = scene.detections, self._options
        if self._passes_all or len(seen) == 0:
            return scene
        keep = self._wanted[seen.class_id]
        if options.min_confidence is not None:
            keep &= seen.confidence >= options.min_confidence
        if self._looks_at_boxes:
            keep &= self._right_size(seen.xyxy, scene.frame.wh) & self._right_place(seen.xyxy, scene.frame.wh)
        return scene if keep.all() else replace(scene, detections=seen.where(keep))

    def _right_size(self, xyxy: NDArray[np.float32], wh: tuple[int, int]) -> NDArray[np.bool_]:
        options = self._options
        width, height = (xyxy[:, 2:] - xyxy[:, :2]).T
        area = width * height
        right = np.ones(len(xyxy), bool)
        # An aspect is compared as a product: a box without height is infinitely wide.
        for value, unit, least, most in (
            (area, 1.0, options.min_area_px, options.max_area_px),
            (area, float(wh[0] * wh[1]), options.min_area, options.max_area),
            (width, height, options.min_aspect, options.max_aspect),
            (width, 1.0, options.min_width_px, options.max_width_px),
            (height, 1.0, options.min_height_px, options.max_height_px),
        ):
            if least is not None:
                right &= value >= least * unit
            if most is not None:
                right &= value <= most * unit
        return right

    def _right_place(self, xyxy: NDArray[np.float32], wh: tuple[int, int]) -> NDArray[np.bool_]:
        right = np.ones(len(xyxy), bool)
        if self._keep is not None:
            right &= self._keep.within(xyxy, wh).any(axis=1)
        if self._drop is not None:
            right &= ~self._drop.within(xyxy, wh).any(axis=1)
        return right
