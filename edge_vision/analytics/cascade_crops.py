"""Cuts objects out of a picture: by their box, straightened by their corners, or laid by their keypoints."""

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import corners_of
from edge_vision.core.plugin import require

Region: TypeAlias = Literal["box", "quad", "keypoints"]

_LEAST_SIDE: Final = 1.0
_GREATEST_SIDE: Final = 4096
_TALL: Final = 1.5
"""A line of text so many times taller than wide stands on its side (PaddleOCR's `get_rotate_crop_image`)."""


def laid(quads: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same corners (n, 4, 2), those of what is tall beginning one later: it then lies on its side."""
    width, height = _sides(quads)
    return np.where((height > _TALL * width)[:, None, None], np.roll(quads, -1, axis=1), quads)


def turned(quads: NDArray[np.float32], degrees: NDArray[np.int_]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) that begin where the top left of the content is, which lies `degrees` (n,) clockwise."""
    order = (np.arange(4)[None] + degrees[:, None] // 90) % 4
    return np.take_along_axis(quads, order[:, :, None], axis=1)


def _sides(quads: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Width and height of quads (n, 4, 2): the longer one of each pair of sides."""
    lengths = np.hypot(*np.moveaxis(np.roll(quads, -1, axis=1) - quads, 2, 0))
    return np.maximum(lengths[:, 0], lengths[:, 2]), np.maximum(lengths[:, 1], lengths[:, 3])


def _grown(quads: NDArray[np.float32], grow: float) -> NDArray[np.float32]:
    center = quads.mean(axis=1, keepdims=True)
    return np.asarray(center + (quads - center) * np.float32(1.0 + 2.0 * grow))


def _proper(quads: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which quads (n, 4, 2) are finite, convex and at least a pixel wide and high."""
    sides = np.roll(quads, -1, axis=1) - quads
    following = np.roll(sides, -1, axis=1)
    turns = sides[..., 0] * following[..., 1] - sides[..., 1] * following[..., 0]
    width, height = _sides(quads)
    convex = (turns > 0).all(axis=1) | (turns < 0).all(axis=1)
    return np.asarray(np.isfinite(quads).all(axis=(1, 2)) & convex & (np.minimum(width, height) >= _LEAST_SIDE))


def similarity(points: NDArray[np.float32], template: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, 3): the turn, scale and shift that brings points (k, 2) nearest to those of a template, by least squares.

    With the points as complex numbers it is one division (Umeyama 1991 has it for any number of dimensions).
    """
    one, other = points.astype(np.float64), template.astype(np.float64)
    here, there = one - one.mean(axis=0), other - other.mean(axis=0)
    here_z, there_z = here[:, 0] + 1j * here[:, 1], there[:, 0] + 1j * there[:, 1]
    factor = np.vdot(here_z, there_z) / max(float(np.vdot(here_z, here_z).real), 1e-12)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.concatenate([turn, (other.mean(axis=0) - turn @ one.mean(axis=0))[:, None]], axis=1)


class Cropper:
    """Cuts the regions of objects out of frames; with a `size`, into buffers that the next frame overwrites."""

    def __init__(
        self,
        region: Region,
        size: tuple[int, int] | None,
        grow: float,
        template: tuple[tuple[float, float], ...] | None,
        most: int,
    ) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._region = region
        self._size = size
        self._grow = grow
        self._template = None
        if size is not None and template is not None:
            self._template = np.array(template, np.float32) * np.array(size, np.float32)
        self._buffers = None if size is None else np.empty((most, size[1], size[0], 3), np.uint8)

    def usable(self, seen: Detections) -> NDArray[np.bool_]:
        """Which objects have a region that can be cut out."""
        if self._region == "box":
            return _proper(corners_of(seen.xyxy))
        if self._region == "quad":
            # A stage that gives corners to some objects has none to give where it found nothing.
            return np.zeros(len(seen), np.bool_) if seen.quad is None else _proper(seen.quad)
        if seen.keypoints is None:
            return np.zeros(len(seen), np.bool_)
        if self._template is not None and seen.keypoints.shape[1] != len(self._template):
            msg = f"template has {len(self._template)} points, the objects have {seen.keypoints.shape[1]} keypoints"
            raise ModelError(msg)
        points = seen.keypoints[:, :, :2]
        return np.asarray(np.isfinite(points).all(axis=(1, 2)) & (np.ptp(points, axis=1).max(axis=1) >= _LEAST_SIDE))

    def cut(self, image: NDArray[np.uint8], seen: Detections, rows: NDArray[np.intp]) -> list[NDArray[np.uint8]]:
        """The regions of some objects, at most as many as there are buffers; read-only where they are views."""
        if self._region == "box":
            return self._boxes(image, seen.xyxy[rows])
        if self._region == "quad":
            assert seen.quad is not None
            return [self._quad(image, quad, number) for number, quad in enumerate(_grown(seen.quad[rows], self._grow))]
        assert seen.keypoints is not None
        return [self._keypoints(image, points[:, :2], number) for number, points in enumerate(seen.keypoints[rows])]

    def _boxes(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
        margin = (xyxy[:, 2:] - xyxy[:, :2]) * np.float32(self._grow)
        height, width = image.shape[:2]
        low = np.clip(np.floor(xyxy[:, :2] - margin), 0, [width - 1, height - 1]).astype(int)
        high = np.clip(np.ceil(xyxy[:, 2:] + margin), low + 1, [width, height]).astype(int)
        return [
            image[top:bottom, left:right]
            for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
        ]

    def _quad(self, image: NDArray[np.uint8], quad: NDArray[np.float32], number: int) -> NDArray[np.uint8]:
        cv2 = self._cv2
        width, height = self._size or (
            int(np.clip(round(float(side[0])), 1, _GREATEST_SIDE)) for side in _sides(quad[None])
        )
        target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        # Corners are continuous, OpenCV's warp counts from the center of the first pixel.
        matrix = cv2.getPerspectiveTransform(quad - np.float32(0.5), target - np.float32(0.5))
        return self._warped(cv2.warpPerspective, image, matrix, (width, height), number)

    def _keypoints(self, image: NDArray[np.uint8], points: NDArray[np.float32], number: int) -> NDArray[np.uint8]:
        assert self._template is not None
        assert self._size is not None
        matrix = similarity(points, self._template)
        if self._grow:  # the template moves towards the middle
            middle = np.array(self._size, np.float64) / 2
            matrix /= 1.0 + 2.0 * self._grow
            matrix[:, 2] += middle - middle / (1.0 + 2.0 * self._grow)
        return self._warped(self._cv2.warpAffine, image, matrix, self._size, number)

    def _warped(
        self, warp: Any, image: NDArray[np.uint8], matrix: NDArray[np.float64], wh: tuple[int, int], number: int
    ) -> NDArray[np.uint8]:
        cv2 = self._cv2
        buffer = None if self._buffers is None else self._buffers[number]
        found: NDArray[np.uint8] = warp(
            image, matrix, wh, dst=buffer, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return found
