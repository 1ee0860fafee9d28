"""Makes pictures of conveyors to learn from and to be examined on, with the true place of every part.

A training picture is a conveyor frame of random size, seed, lamp and belt, letterboxed to the network's
input, then zoomed, shifted, mirrored, blurred, recolored and made noisy. Examination pictures come from seeds
never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vision.capture.conveyor import Conveyor

INPUT_WH = (320, 192)
PAD = 114
HELD_OUT_SEED = 1_000_000
"""Training seeds lie below, examination seeds at and above this number."""

_SIZES = (
    (640, 360),
    (640, 360),
    (640, 360),
    (1280, 720),
    (640, 480),
    (480, 480),
    (800, 360),
    (320, 240),
    (360, 480),
)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One picture and what is on it.

    Attributes:
        image: uint8 (h, w, 3) BGR.
        xyxy: float32 (n, 4), pixels of `image`.
        class_id: int32 (n,).

    """

    image: NDArray[np.uint8]
    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int32]


def random_conveyor(rng: np.random.Generator, seed: int) -> tuple[Conveyor, tuple[int, int]]:
    """Build a conveyor with random picture size, lamp and belt color; return it with its (width, height)."""
    wh = _SIZES[int(rng.integers(len(_SIZES)))]
    gray = rng.uniform(32, 92)
    blue, green, red = (int(gray * rng.uniform(0.86, 1.14)) for _ in range(3))
    conveyor = Conveyor(
        wh, 25.0, seed, light=float(rng.uniform(0.6, 1.35)), belt_bgr=(blue, green, red), defect_rate=0.3
    )
    return conveyor, wh


def shoot(conveyor: Conveyor, wh: tuple[int, int], index: int) -> Scene:
    """Return frame `index` as a scene of its own."""
    image = np.empty((wh[1], wh[0], 3), np.uint8)
    conveyor.draw(index, image)
    truth = conveyor.truth(index)
    return Scene(image, truth.xyxy, truth.class_id)


def letterbox(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Fit a picture into the top-left corner of the input; return uint8 (192, 320, 3) and the scale."""
    height, width = image.shape[:2]
    scale = min(INPUT_WH[0] / width, INPUT_WH[1] / height)
    fitted = cv2.resize(image, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_LINEAR)
    boxed = np.full((INPUT_WH[1], INPUT_WH[0], 3), PAD, np.uint8)
    boxed[: fitted.shape[0], : fitted.shape[1]] = fitted
    return boxed, scale


def training_scenes(lines: int, frames_per_line: int, seed: int) -> list[Scene]:
    """Draw `lines` conveyors and take so many frames of each, already letterboxed."""
    rng = np.random.default_rng((seed, 77))
    scenes = []
    for line in range(lines):
        conveyor, wh = random_conveyor(rng, seed * 10_000 + line)
        for index in np.sort(rng.integers(0, frames_per_line * 60, frames_per_line)):
            scene = shoot(conveyor, wh, int(index))
            boxed, scale = letterbox(scene.image)
            scenes.append(Scene(boxed, scene.xyxy * np.float32(scale), scene.class_id))
    return scenes


def held_out_scenes(count: int) -> Iterator[Scene]:
    """Draw `count` pictures of unseen conveyors with mild camera faults, for the examination."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    for number in range(count):
        conveyor, wh = random_conveyor(rng, HELD_OUT_SEED + number)
        scene = shoot(conveyor, wh, int(rng.integers(0, 2000)))
        yield Scene(spoil(scene.image, rng, strength=0.5), scene.xyxy, scene.class_id)


def spoil(image: NDArray[np.uint8], rng: np.random.Generator, strength: float = 1.0) -> NDArray[np.uint8]:
    """Return a picture as a worse camera would see it: gain, cast, gamma, blur, noise and compression."""
    if rng.random() < 0.3 * strength:
        sigma = rng.uniform(0.4, 1.0) * max(1.0, image.shape[0] / 360)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if rng.random() < 0.25 * strength:
        image = np.asarray(cv2.blur(image, (int(rng.integers(2, 5)), 1)), np.uint8)  # motion along the belt
    gain = 1 + strength * rng.uniform(-0.3, 0.3) + strength * rng.uniform(-0.1, 0.1, 3)
    curve = 255 * (np.arange(256) / 255) ** (1 + strength * rng.uniform(-0.3, 0.3))
    table = np.clip(curve[:, None] * gain + strength * rng.uniform(-12, 12), 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table[None]), np.uint8)
    if rng.random() < 0.5 * strength:
        noise = np.empty(image.shape, np.int8)
        cv2.randn(noise, 0, rng.uniform(1, 9))  # type: ignore[call-overload]
        image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < 0.4 * strength:
        quality = int(rng.integers(35, 90))
        image = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR),
            np.uint8,
        )
    return image


def vary(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a letterboxed scene mirrored, zoomed, shifted and spoiled; parts this cuts are painted over."""
    width, height = INPUT_WH
    image, xyxy, class_id = scene.image, scene.xyxy, scene.class_id
    matrix = np.eye(3)
    for axis, side in ((0, width), (1, height)):
        if rng.random() < 0.5:
            flip = np.eye(3)
            flip[axis, axis], flip[axis, 2] = -1, side
            matrix = flip @ matrix
    if rng.random() < 0.6:
        zoom = float(np.exp(rng.uniform(-0.45, 0.5)))
        shift = np.diag((zoom, zoom, 1.0))
        shift[:2, 2] = rng.uniform(-0.25, 0.25, 2) * INPUT_WH + (1 - zoom) * np.array(INPUT_WH) / 2
        matrix = shift @ matrix
    moved = matrix.copy()
    moved[:2, 2] += moved[:2, :2].sum(axis=1) * 0.5 - 0.5  # boxes measure edges of pixels, warpAffine their centers
    image = np.asarray(
        cv2.warpAffine(image, moved[:2], INPUT_WH, flags=cv2.INTER_LINEAR, borderValue=(PAD, PAD, PAD)),
        np.uint8,
    )
    corners = xyxy.reshape(-1, 2) @ matrix[:2, :2].T + matrix[:2, 2]
    pairs = corners.reshape(-1, 2, 2)
    whole = np.concatenate((pairs.min(axis=1), pairs.max(axis=1)), axis=1)
    cut = ((whole < -0.5) | (whole > (width + 0.5, height + 0.5) * 2)).any(axis=1)
    for left, top, right, bottom in np.clip(whole[cut], 0, (width, height) * 2).round().astype(int).tolist():
        gray = int(rng.integers(20, 140))
        image[top:bottom, left:right] = gray  # what is left of a part has an outline nobody knows
    keep = ~cut & ((whole[:, 2:] - whole[:, :2]).min(axis=1) > 4)
    return Scene(spoil(image, rng), np.clip(whole[keep], 0, (width, height) * 2).astype(np.float32), class_id[keep])
