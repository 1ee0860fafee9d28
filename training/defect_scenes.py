"""Makes pictures of parts to learn from and to be examined on, with what every pixel belongs to.

The lines are those of `scenes.py`, and spoiled like them; four parts in ten have a defect. The examination uses seeds
never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import spoil

from edge_vision.capture.conveyor import Conveyor, Truth

INPUT_WH = (640, 368)
PAD = 114
DEFECT_RATE = 0.4
HELD_OUT_SEED = 5_000_000
"""Training seeds lie below, examination seeds at and above this number."""
FRAMES_APART = 180
"""So far apart two frames of a 25 fps line have no part in common."""

_SIZES = ((640, 360), (640, 360), (640, 360), (1280, 720), (960, 540))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One picture and what is on it.

    Attributes:
        image: uint8 (h, w, 3) BGR.
        surfaces: uint8 (h, w), 0 or 1 + an index into `SURFACES`.
        truth: the parts on it.

    """

    image: NDArray[np.uint8]
    surfaces: NDArray[np.uint8]
    truth: Truth


def random_line(rng: np.random.Generator, seed: int) -> tuple[Conveyor, tuple[int, int]]:
    """Build a line with random picture size, lamp and belt color; return it with its (width, height)."""
    wh = _SIZES[int(rng.integers(len(_SIZES)))]
    gray = rng.uniform(36, 88)
    blue, green, red = (int(gray * rng.uniform(0.86, 1.14)) for _ in range(3))
    light = float(rng.uniform(0.65, 1.3))
    return Conveyor(wh, 25.0, seed, light=light, belt_bgr=(blue, green, red), defect_rate=DEFECT_RATE), wh


def shoot(line: Conveyor, wh: tuple[int, int], index: int) -> Scene:
    """Return frame `index` as a scene of its own."""
    image = np.empty((wh[1], wh[0], 3), np.uint8)
    line.draw(index, image)
    return Scene(image, line.surfaces(index), line.truth(index))


def held_out_scenes(lines: int, frames_per_line: int) -> Iterator[Scene]:
    """Draw unseen lines with mild camera faults, for the examination; no part is seen twice."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    for number in range(lines):
        line, wh = random_line(rng, HELD_OUT_SEED + number)
        for step in range(frames_per_line):
            scene = shoot(line, wh, FRAMES_APART * (step + 1))
            yield Scene(spoil(scene.image, rng, strength=0.5), scene.surfaces, scene.truth)


def training_scenes(lines: int, frames_per_line: int, seed: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Draw so many lines and frames of each as network inputs (h, w, 3) with their surfaces (h, w)."""
    rng = np.random.default_rng((seed, 78))
    scenes = []
    for number in range(lines):
        line, wh = random_line(rng, seed * 10_000 + number)
        for step in range(frames_per_line):
            scene = shoot(line, wh, FRAMES_APART * (step + 1))
            scenes.append(letterbox(scene))
    return scenes


def letterbox(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Fit a scene into the top-left corner of the network's input."""
    height, width = scene.surfaces.shape
    scale = min(INPUT_WH[0] / width, INPUT_WH[1] / height)
    wh = int(width * scale), int(height * scale)
    image = np.full((INPUT_WH[1], INPUT_WH[0], 3), PAD, np.uint8)
    surfaces = np.zeros((INPUT_WH[1], INPUT_WH[0]), np.uint8)
    image[: wh[1], : wh[0]] = cv2.resize(scene.image, wh, interpolation=cv2.INTER_LINEAR)
    surfaces[: wh[1], : wh[0]] = cv2.resize(scene.surfaces, wh, interpolation=cv2.INTER_NEAREST)
    return image, surfaces


def piece(
    scene: tuple[NDArray[np.uint8], NDArray[np.uint8]], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut a random square out of a network input, zoomed and spoiled, with a cell per 2x2 pixels of truth.

    It is not turned or mirrored: the lamp of a station stays where it is, and the parts lie at any angle already.
    """
    image, surfaces = scene
    zoom = float(np.exp(rng.uniform(-0.1, 0.1))) if rng.random() < 0.5 else 1.0
    rows, columns = np.nonzero(surfaces > 0)
    if len(rows) and rng.random() < 0.9:
        pick = int(rng.integers(len(rows)))
        middle = np.array([columns[pick], rows[pick]], float) + rng.uniform(-side / 3, side / 3, 2)
    else:
        middle = rng.uniform(0, 1, 2) * INPUT_WH
    shift = side / 2 - zoom * middle
    affine = np.column_stack([np.eye(2) * zoom, np.rint(shift) if zoom == 1.0 else shift])
    border = (PAD, PAD, PAD)
    cut = cv2.warpAffine(image, affine, (side, side), flags=cv2.INTER_LINEAR, borderValue=border)
    truth = cv2.warpAffine(surfaces, affine, (side, side), flags=cv2.INTER_NEAREST)
    return spoil(np.asarray(cut, np.uint8), rng, strength=0.5), cells(np.asarray(truth, np.uint8))


def cells(surfaces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Say what each cell of 2x2 pixels belongs to: what its first pixel does, or a defect that any of them shows."""
    rows, columns = surfaces.shape
    four = surfaces.reshape(rows // 2, 2, columns // 2, 2)
    most = four.max(axis=(1, 3))
    return np.where(most > 1, most, four[:, 0, :, 0])
