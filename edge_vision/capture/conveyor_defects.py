"""Spoils a drawn part: a scratch, a hole or a stain, together with the pixels that it covers.

A hole goes through the sheet and is cut before the light falls on it; scratches and stains lie on the surface and
are painted after. `p` and `q` are coordinates along and across the part, in part units: its radius is 1.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

DEFECTS: tuple[str, ...] = ("scratch", "hole", "stain")
SCRATCH, HOLE, STAIN = range(3)

_Plane: TypeAlias = NDArray[np.float32]
_SHOWS = 0.3
"""What is painted over by this much or more belongs to the defect."""


def blob(rng: np.random.Generator, p: _Plane, q: _Plane, size: float, rough: float) -> _Plane:
    """Return the distance to the outline of an irregular patch around 0, 0, negative inside, in part units."""
    around = np.arctan2(q, p)
    bulges = sum(
        np.sin(lobes * around + np.float32(rng.uniform(0, 2 * math.pi))) * np.float32(rough * size / math.sqrt(lobes))
        for lobes in (2, 3, 5, 7)
    )
    return np.asarray(np.hypot(p, q) - np.float32(size) + bulges, np.float32)


def burr(hole: _Plane) -> _Plane:
    """Return the height of the torn rim around a hole, in part units."""
    return np.asarray(0.10 * np.exp(-(((hole - 0.02) / 0.035) ** 2)), np.float32)


def stain(rng: np.random.Generator, bgr: NDArray[np.float32], shade: _Plane, p: _Plane, q: _Plane) -> NDArray[np.bool_]:
    """Paint rust or burnt oil around 0, 0 onto the part, in place; return where it is, bool (h, w)."""
    cover = 0.88 * np.clip(-blob(rng, p, q, rng.uniform(0.20, 0.34), 0.25) / 0.06 + 0.5, 0, 1)
    tint = np.array(((24, 58, 118), (20, 40, 78), (30, 34, 40))[int(rng.integers(3))], np.float32)
    bgr *= (1 - cover)[..., None]
    bgr += cover[..., None] * tint * (0.5 + shade[..., None] / 300)
    return np.asarray(cover > _SHOWS, np.bool_)


def scratch(
    rng: np.random.Generator, bgr: NDArray[np.float32], spot: tuple[float, float], radius: float
) -> NDArray[np.bool_]:
    """Paint a few fresh scratches through a pixel, in place: a bright line beside a dark one; return where."""
    half = bgr.shape[0] // 2
    lean = rng.uniform(0, math.pi)
    thickness, depth = max(1, round(radius * 0.035)), rng.uniform(0.7, 0.95)
    strokes = np.zeros((2, *bgr.shape[:2]), np.uint8)  # dark, bright; OpenCV smooths lines in 8 bits only
    for _ in range(int(rng.integers(1, 4))):
        turn, reach = lean + rng.uniform(-0.25, 0.25), rng.uniform(0.3, 0.55)
        dx, dy = radius * reach * math.cos(turn), radius * reach * math.sin(turn)
        ox, oy = rng.uniform(-0.10, 0.10, 2) * radius
        for stroke, shift in zip(strokes, (thickness, 0), strict=True):
            x, y = half + spot[0] + ox + shift, half + spot[1] + oy + shift
            ends = [(round((x + sign * dx) * 16), round((y + sign * dy) * 16)) for sign in (-1, 1)]
            cv2.line(stroke, ends[0], ends[1], 255, thickness, cv2.LINE_AA, 4)
    for stroke, gray in zip(strokes, (36, 240), strict=True):
        bgr += (stroke / np.float32(255))[..., None] * depth * (gray - bgr)
    return np.asarray(strokes.max(axis=0) > _SHOWS * 255, np.bool_)
