"""Paints what the make-believe conveyor shows: the rubber belt, its rails, and one part at a time.

Everything here is slow (milliseconds) and done once; `conveyor.py` only copies the results. A part is drawn
from signed distances (negative inside, positive outside, in part units: its radius is 1), which gives smooth
edges at any size. `p` and `q` are coordinates along and across the part, `x` and `y` those of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vision.capture.conveyor_defects import HOLE, SCRATCH, STAIN, blob, burr, scratch, stain

BOLT, WASHER, BRACKET = range(3)

_LIGHT = (-0.46, -0.58, 0.67)  # direction towards the lamp: left, up, out of the picture (unit vector)
_TINTS = (  # BGR gains: steel, stainless, yellow zinc, brass, phosphate
    ((0.97, 0.98, 1.00), 5),
    ((1.06, 1.03, 1.00), 4),
    ((0.74, 0.95, 1.03), 2),
    ((0.60, 0.88, 1.04), 2),
    ((0.72, 0.70, 0.68), 2),
)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """The picture of one part, ready to lay over the belt: `frame * keep / 255 + add`.

    Attributes:
        keep: uint8 (h, w, 3), how much of the belt shines through: 0 on the part, below 255 in its shadow.
        add: uint8 (h, w, 3) BGR, the part's own color, premultiplied.
        solid: bool (h, w), where the part is, holes that belong to it left out.
        flaw: bool (h, w), where its defect is.

    """

    keep: NDArray[np.uint8]
    add: NDArray[np.uint8]
    solid: NDArray[np.bool_]
    flaw: NDArray[np.bool_]


def draw_belt(
    rng: np.random.Generator, wh: tuple[int, int], base: int, bgr: tuple[int, int, int], light: float
) -> NDArray[np.uint8]:
    """Draw one turn of the belt plus one picture width, uint8 (h, period + w, 3): a frame is one slice."""
    width, height = wh
    period = max(width, 2 * base)
    wrap = max(8, base // 4)
    y, x = np.mgrid[0:height, 0:period].astype(np.float32)

    def noise(sigma_x: float, sigma_y: float) -> NDArray[np.float32]:
        """Return periodic smooth noise of mean 0 and deviation 1, float32 (height, period)."""
        step = max(1, int(min(sigma_x, sigma_y) / 2))  # coarse noise is made small and enlarged: 20x faster
        turn, side = max(2, round(period / step)), math.ceil(wrap / step)
        raw = rng.standard_normal((math.ceil(height / step), turn), np.float32)
        ring = np.pad(raw, ((0, 0), (side, side)), mode="wrap")
        soft = cv2.GaussianBlur(ring, (0, 0), sigma_x / step, sigmaY=sigma_y / step)
        wide, cut = round(ring.shape[1] * period / turn), round(side * period / turn)
        smooth = cv2.resize(soft, (wide, height), interpolation=cv2.INTER_LINEAR)[:, cut : cut + period]
        return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-6), np.float32)

    weave = period / max(1, round(period / max(4.0, base / 60)))  # a whole number of threads per turn
    turns = 2 * math.pi / weave
    gray = 1.0 + 0.055 * np.sin(turns * (x + y)) * np.sin(turns * (x - y))
    gray += 0.050 * noise(0.6, 0.6) + 0.045 * noise(base / 9, base / 40) + 0.03 * noise(base / 14, 0.7)
    edge = np.minimum(y, height - 1 - y) / base  # distance to the nearer rail
    gray *= 0.45 + 0.55 * np.clip(edge / 0.035, 0, 1) ** 0.6
    gray *= 1.0 - 0.10 * (2 * y / height - 1)  # the lamp hangs over the upper side
    splice = np.abs((x - 0.37 * period) - 0.18 * (y - height / 2)) / base
    gray -= 0.22 * np.exp(-((splice / 0.006) ** 2)) - 0.07 * np.exp(-(((splice - 0.012) / 0.006) ** 2))
    belt = gray[..., None] * np.array(bgr, np.float32)
    marks = max(1, round(period / (0.21 * base)))  # worn encoder marks along both edges show the motion
    mark = (np.abs((x * marks / period) % 1 - 0.5) < 0.055) & (np.abs(edge - 0.045) < 0.008)  # noqa: PLR2004
    worn = mark * np.clip(0.42 + 0.2 * noise(1.5, 1.5), 0, 1)
    belt += worn[..., None] * (np.array((120, 190, 205), np.float32) - belt)
    turn = np.clip(belt * light, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.concatenate((turn, turn[:, :width]), axis=1))


def draw_rails(rng: np.random.Generator, wh: tuple[int, int], light: float) -> NDArray[np.uint8]:
    """Draw the two aluminum profiles, uint8 (2, h, w, 3): the upper one, then the lower one."""
    width, height = wh
    across = np.linspace(0, 1, height, dtype=np.float32)  # 0 = picture edge, 1 = belt
    stops = (0.0, 0.18, 0.22, 0.30, 0.34, 0.62, 0.66, 0.74, 0.80, 0.94, 1.0)
    level = np.interp(across, stops, (118, 132, 70, 62, 140, 150, 84, 78, 158, 176, 96)).astype(np.float32)
    brushed = cv2.blur(rng.standard_normal((height, width), np.float32), (max(9, 2 * height), 1))
    upper = level[:, None] * (1 + 0.22 * brushed)
    lower = level[::-1, None] * (0.90 + 0.22 * brushed)
    metal = np.stack((upper, lower))[..., None] * np.array((1.03, 1.0, 0.96), np.float32)
    rails = np.clip(metal * light, 0, 255).astype(np.uint8)
    radius = height * 0.17
    for rail, y in zip(rails, (0.48, 0.52), strict=True):
        for x in np.arange(height * 1.5, width, height * 7.3):
            center = (round(x * 16), round(y * height * 16))
            for size, gray in ((1.25, 70), (1.0, 172), (0.5, 46)):
                color = (min(255, int(gray * light)),) * 3
                cv2.circle(rail, center, round(radius * size * 16), color, -1, cv2.LINE_AA, 4)
    return rails


def draw_part(rng: np.random.Generator, class_id: int, radius: float, light: float, defect: int | None) -> Sprite:
    """Draw one part with a random turn, size of details and tint, and a defect if asked; `radius` in pixels."""
    half = math.ceil(radius * 1.30) + 2
    grid = np.arange(-half, half + 1, dtype=np.float32) / np.float32(radius)
    x, y = grid[None, :], grid[:, None]
    angle = rng.uniform(0, 2 * math.pi)
    along = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    p, q = x * along[0] + y * along[1], y * along[0] - x * along[1]
    solid, height, gloss, spots = (_bolt, _washer, _bracket)[class_id](rng, p, q)
    tint = _tint(rng)
    spoiling = np.random.default_rng(rng.integers(2**32))  # of its own: a defect changes nothing but its part
    spot = spots[int(spoiling.integers(len(spots)))]
    away_p, away_q = p - np.float32(spot[0]), q - np.float32(spot[1])
    flaw, outline = np.zeros(solid.shape, np.bool_), solid
    if defect == HOLE:
        hole = blob(spoiling, away_p, away_q, spoiling.uniform(0.10, 0.15), 0.22)
        height = height + burr(hole)
        flaw, solid = hole < 0, np.maximum(solid, -hole)
    alpha = np.clip(0.5 - solid * np.float32(radius), 0, 1)
    shade = _shade(height.astype(np.float32), gloss, radius)
    bgr = shade[..., None] * tint
    if defect == STAIN:
        flaw = stain(spoiling, bgr, shade, away_p, away_q)
    elif defect == SCRATCH:
        at = spot[0] * along[0] - spot[1] * along[1], spot[0] * along[1] + spot[1] * along[0]
        flaw = scratch(spoiling, bgr, (radius * float(at[0]), radius * float(at[1])), radius)
    return _finish(np.clip(bgr * light, 0, 255), alpha.astype(np.float32), flaw & (outline < 0), radius)


_Plane: TypeAlias = NDArray[np.float32]  # one value per sprite pixel, (h, w) or broadcast to it
_Spots: TypeAlias = tuple[tuple[float, float], ...]
# What a shape function returns: distance to the outline, height, brightness without relief, and places for
# defects (p, q of a spot on the metal).
_Shape: TypeAlias = tuple[_Plane, _Plane, _Plane, _Spots]


def _box(p: _Plane, q: _Plane, center: tuple[float, float], half: tuple[float, float], corner: float) -> _Plane:
    """Return the signed distance to a rectangle with rounded corners."""
    dp = np.abs(p - np.float32(center[0])) - np.float32(half[0] - corner)
    dq = np.abs(q - np.float32(center[1])) - np.float32(half[1] - corner)
    outside = np.hypot(np.maximum(dp, 0), np.maximum(dq, 0))
    return np.asarray(outside + np.minimum(np.maximum(dp, dq), 0) - np.float32(corner), np.float32)


def _bolt(rng: np.random.Generator, p: _Plane, q: _Plane) -> _Shape:
    """Shape a hex-head bolt on its side: three facets of the head, a collar, a threaded shank with a tip."""
    thick, head, thread = rng.uniform(0.15, 0.20), rng.uniform(0.36, 0.43), rng.uniform(0.30, 0.75)
    taper = np.clip((p - 0.90) / 0.10, 0, 1) * 0.06
    ridges = np.clip((p - (1 - 1.55 * thread)) / 0.03, 0, 1) * np.sin(p * 62 + q * 9)
    shank = _box(p, q, (0.15, 0), (0.85, thick), 0.02) + taper + 0.012 * ridges
    hexagon = _box(p, q, (-0.80, 0), (0.20, head), 0.07)
    collar = _box(p, q, (-0.585, 0), (0.035, head * 1.07), 0.02)
    solid = np.minimum(np.minimum(shank, hexagon), collar)
    across = np.abs(q) / head
    facets = np.clip(1.5 - 1.1 * np.maximum(across, 0.5), 0, 1)  # flat in the middle, sloping on both sides
    round_bar = np.sqrt(np.clip(1 - (q / thick) ** 2, 0, 1)) * thick * 1.4 + 0.030 * ridges
    bevel = np.clip(-hexagon / 0.09, 0, 1)
    height = np.where(hexagon < 0, 0.42 * facets * (0.6 + 0.4 * bevel), np.where(shank < 0, round_bar, 0))
    height = np.where(collar < 0, 0.34, height)
    gloss = np.where(hexagon < 0, 0.04, 0.0) + 0.07 * ridges * (shank < 0)
    spots = ((-0.80, 0.05), (0.05, 0.0), (0.25, 0.0))
    return solid, height.astype(np.float32), gloss.astype(np.float32), spots


def _washer(rng: np.random.Generator, p: _Plane, q: _Plane) -> _Shape:
    """Shape a flat ring whose turned face throws two bright fans of light."""
    inner = rng.uniform(0.42, 0.60)
    r = np.hypot(p, q)
    solid = np.maximum(r - 0.985, inner - r)
    height = 0.10 * np.clip(-solid / 0.085, 0, 1) ** 0.7
    grooves = rng.standard_normal(96).astype(np.float32)
    fans = np.cos(2 * np.arctan2(q, p) + np.float32(rng.uniform(0, 2 * math.pi)))
    gloss = 0.15 * fans + 0.035 * grooves[np.minimum(r * 48, 95).astype(np.int32)]
    middle = (1 + inner) / 2
    turns = rng.uniform(0, 2 * math.pi, 3).tolist()
    spots = tuple((middle * math.cos(turn), middle * math.sin(turn)) for turn in turns)
    return solid, height.astype(np.float32), gloss.astype(np.float32), spots


def _bracket(rng: np.random.Generator, p: _Plane, q: _Plane) -> _Shape:
    """Shape a flat L of brushed sheet metal with three drilled holes and an embossed rib."""
    wide, short = rng.uniform(0.25, 0.31), rng.uniform(0.55, 0.72)
    lying = _box(p, q, (0.0, 0.72 - wide), (0.72, wide), 0.07)
    standing = _box(p, q, (wide - 0.72, 0.72 - wide - short / 2), (wide, wide + short / 2), 0.07)
    solid = np.minimum(lying, standing)
    mid = 0.72 - wide
    top = mid - wide - short + 0.26
    hole = np.float32(rng.uniform(0.095, 0.135))
    for at in ((0.72 - 0.26, mid), (-mid, top), (-mid, mid)):
        solid = np.maximum(solid, hole - np.hypot(p - np.float32(at[0]), q - np.float32(at[1])))
    height = 0.09 * np.clip(-solid / 0.065, 0, 1) ** 0.7
    rib = _box(p, q, (-0.02, mid), (0.20, 0.075), 0.07)
    height = height + 0.05 * np.clip(-rib / 0.075, 0, 1)
    lines = rng.standard_normal(256).astype(np.float32)
    gloss = 0.035 * lines[np.clip(q * 70 + 128, 0, 255).astype(np.int32)] + 0.10 * p * rng.uniform(-1, 1)
    spots = ((0.10, mid), (-mid, mid - wide - 0.1), (-0.15, mid))
    return solid, height.astype(np.float32), gloss.astype(np.float32), spots


def _shade(height: _Plane, gloss: _Plane, radius: float) -> _Plane:
    """Light a relief (part units): ambient, diffuse and a soft highlight; float32 (h, w), 0..255."""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=radius / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=radius / 8)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = (_LIGHT[2] - slope_x * _LIGHT[0] - slope_y * _LIGHT[1]) / length
    # The camera looks straight down, so the highlight peaks half-way between the lamp and the vertical.
    norm = math.sqrt(2 * (1 + _LIGHT[2]))
    mirrored = (_LIGHT[2] + 1 - slope_x * _LIGHT[0] - slope_y * _LIGHT[1]) / length / norm
    shine = np.clip(mirrored, 0, 1) ** 40
    return np.asarray(255 * (0.10 + 0.62 * np.clip(facing, 0, 1) + 0.26 * shine + gloss), np.float32)


def _tint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Pick the color of a metal and vary it a little; float32 (3,), BGR gains."""
    weights = np.array([weight for _, weight in _TINTS], np.float64)
    gains = _TINTS[int(rng.choice(len(_TINTS), p=weights / weights.sum()))][0]
    return np.asarray(np.array(gains) * rng.uniform(0.86, 1.10) * rng.uniform(0.97, 1.03, 3), np.float32)


def _finish(bgr: NDArray[np.float32], alpha: _Plane, flaw: NDArray[np.bool_], radius: float) -> Sprite:
    """Add the soft shadow and pack the sprite; `bgr` 0..255 and `alpha` 0..1, both float32."""
    shift = np.array(((1, 0, 0.085 * radius), (0, 1, 0.105 * radius)), np.float64)
    cast = cv2.warpAffine(alpha, shift, (alpha.shape[1], alpha.shape[0]))
    cast = cv2.GaussianBlur(cast, (0, 0), max(0.6, 0.062 * radius))
    near = cv2.GaussianBlur(alpha, (0, 0), max(0.5, 0.045 * radius))
    through = (1 - alpha) * (1 - 0.62 * cast) * (1 - 0.35 * near)
    keep = np.repeat((through * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    return Sprite(keep, (bgr * alpha[..., None]).round().astype(np.uint8), alpha > 0.5, flaw)  # noqa: PLR2004
