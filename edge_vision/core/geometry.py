"""How a picture is laid into a network's input, and how coordinates find their way back."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Anchor: TypeAlias = Literal["center", "top_left"]
Resize: TypeAlias = Literal["letterbox", "stretch", "fit_height"]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The placing of a source picture inside a network's input.

    `scale` is input pixels per source pixel along x and y, `resized_wh` the size of the picture inside the input,
    `pad_left` and `pad_top` its offset there, all in input pixels. Coordinates are continuous: (0, 0) is the outer
    corner of the first pixel, as `cv2.resize` has it.

    A letterbox maps back by its one nominal scale, as the reference decoders do, although the resized side was
    rounded down to whole pixels (docs/adr/004).
    """

    source_wh: tuple[int, int]
    model_wh: tuple[int, int]
    scale: tuple[float, float]
    resized_wh: tuple[int, int]
    pad_left: int
    pad_top: int

    @classmethod
    def fit(
        cls,
        source_wh: tuple[int, int],
        model_wh: tuple[int, int],
        resize: Resize = "letterbox",
        anchor: Anchor = "center",
    ) -> "Letterbox":
        """Lay a picture of `source_wh` into an input of `model_wh`.

        `letterbox` keeps the aspect ratio; the resized side is floor(side x scale), at least 1, as the reference
        decoders of the YOLO family have it. `stretch` fills the input. `fit_height` lies on the left, as high as the
        input and as wide as its aspect ratio makes it, rounded up, at most as wide as the input, as the readers of
        PaddleOCR have it. Raises ValueError for an empty size.
        """
        source_w, source_h = source_wh
        model_w, model_h = model_wh
        if min(source_w, source_h, model_w, model_h) < 1:
            msg = f"cannot fit {source_w}x{source_h} into {model_w}x{model_h}: every side must be at least 1"
            raise ValueError(msg)
        if resize == "stretch":
            return cls(source_wh, model_wh, (model_w / source_w, model_h / source_h), model_wh, 0, 0)
        if resize == "fit_height":
            width = min(model_w, -(-source_w * model_h // source_h))
            return cls(source_wh, model_wh, (width / source_w, model_h / source_h), (width, model_h), 0, 0)
        scale = min(model_w / source_w, model_h / source_h)
        # Integer arithmetic: the tight side comes out exact, where floor(side * (model / side)) may lose one.
        if model_w * source_h <= model_h * source_w:
            resized = (model_w, max(1, source_h * model_w // source_w))
        else:
            resized = (max(1, source_w * model_h // source_h), model_h)
        if anchor == "top_left":
            return cls(source_wh, model_wh, (scale, scale), resized, 0, 0)
        left, top = (model_w - resized[0]) // 2, (model_h - resized[1]) // 2
        return cls(source_wh, model_wh, (scale, scale), resized, left, top)

    def to_model(self, xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map source pixels to input pixels; (..., 2k) with x and y in turn, so points and xyxy boxes alike."""
        scale, offset = self._vectors(xy.shape[-1])
        return np.asarray(xy * scale + offset, np.float32)

    def to_source(self, xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map input pixels back to source pixels: the inverse of `to_model`."""
        scale, offset = self._vectors(xy.shape[-1])
        return np.asarray((xy - offset) / scale, np.float32)

    def _vectors(self, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pairs = width // 2
        return np.tile(np.array(self.scale), pairs), np.tile(np.array([self.pad_left, self.pad_top], float), pairs)


def corners_of(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """The corners (n, 4, 2) of boxes (n, 4), clockwise from the top left."""
    return xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def overlaps(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, m): intersection over union of boxes (n, 4) and (m, 4); 0 for empty boxes."""
    first, second = one[:, None].astype(np.float64), other[None].astype(np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    common = np.prod(np.maximum(sides, 0.0), axis=2)
    areas = np.prod(first[..., 2:] - first[..., :2], axis=2) + np.prod(second[..., 2:] - second[..., :2], axis=2)
    return np.asarray(common / np.maximum(areas - common, 1e-9))
