"""Keeps the detections that matter."""

from dataclasses import replace

import numpy as np

from edge_vision.analytics.options import FilterOptions
from edge_vision.core.scene import Scene


class Filter:
    """Drops detections by class, score and area of the box."""

    def __init__(self, options: FilterOptions, labels: tuple[str, ...]) -> None:
        self._options = options
        self._wanted = np.array([options.classes is None or label in options.classes for label in labels], bool)
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
