"""Turns a mask into a few polygons that a message can carry."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.plugin import require

MOST_POINTS: Final = 256
"""As many corners as one object's polygons have together, at most."""
_MOST_POLYGONS: Final = 32
"""Of a mask in more pieces, holes counted, the smallest are left out."""
_LEAST_CORNERS: Final = 3
"""Fewer enclose nothing."""
_STEPS: Final = (0.0, *(0.75 * 2**number for number in range(12)))
"""How far, in cells of the mask, a corner may lie off the true outline; the first that gives few enough is taken."""


def polygons(mask: NDArray[np.bool_], xyxy: NDArray[np.floating]) -> list[list[list[float]]]:
    """The outlines of a mask (rows, columns) laid over a box (4,), in the box's pixels, rounded to tenths.

    What lies inside an odd number of them is the mask: a hole is a polygon of its own.
    """
    cv2: Any = require("cv2", "cpu")
    # Outlines run through the centers of the outermost pixels. Of four pixels per cell those tell the cell's side.
    doubled = cv2.resize(np.ascontiguousarray(mask).view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = sorted(((one + 1) // 2 for one in found), key=cv2.contourArea, reverse=True)[:_MOST_POLYGONS]
    simple: list[NDArray[Any]] = []
    for step in _STEPS:
        closed = (cv2.approxPolyDP(outline, step, closed=True)[:, 0] for outline in outlines)
        simple = [one for one in closed if len(one) >= _LEAST_CORNERS]
        if sum(map(len, simple)) <= MOST_POINTS:
            break
    scale = (xyxy[2:] - xyxy[:2]).astype(np.float64) / mask.shape[::-1]
    return [np.round(xyxy[:2] + one * scale, 1).tolist() for one in simple]
