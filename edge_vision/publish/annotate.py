"""Draws what was seen onto a picture: boxes, names and scores, legible on any background and at any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene


class Annotator:
    """Draws the detections of a scene on a copy of its frame."""

    def __init__(self) -> None:
        self._cv2: Any = require("cv2", "cpu")

    def __call__(self, scene: Scene) -> NDArray[np.uint8]:
        """A new (height, width, 3) uint8 BGR picture; the frame stays as it is."""
        image: NDArray[np.uint8] = scene.frame.image.copy()
        width, height = scene.frame.wh
        # Thickness and text grow with the picture: 2 px and 0.5 on 640x480, more on 4K.
        unit = max(width, height) / 640
        line = max(1, round(2 * unit))
        labels = scene.model.labels if scene.model else ()
        seen = scene.detections
        for xyxy, class_id, confidence in zip(
            np.rint(seen.xyxy).astype(int).tolist(), seen.class_id.tolist(), seen.confidence.tolist(), strict=True
        ):
            color = color_of(class_id)
            self._cv2.rectangle(image, tuple(xyxy[:2]), tuple(xyxy[2:]), color, line, self._cv2.LINE_AA)
            name = labels[class_id] if class_id < len(labels) else str(class_id)
            self._tag(image, f"{name} {confidence:.2f}", (xyxy[0], xyxy[1]), color, max(0.4, 0.5 * unit))
        return image

    def _tag(
        self, image: NDArray[np.uint8], text: str, corner: tuple[int, int], color: tuple[int, int, int], size: float
    ) -> None:
        """A filled label above a corner; inside the picture where there is no room above or to the right."""
        cv2 = self._cv2
        font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(size * 1.6))
        (text_w, text_h), baseline = cv2.getTextSize(text, font, size, weight)
        height, width = image.shape[:2]
        tall = text_h + baseline + 4
        left = int(np.clip(corner[0], 0, max(0, width - text_w - 4)))
        top = corner[1] - tall if corner[1] >= tall else min(corner[1], max(0, height - tall))
        cv2.rectangle(image, (left, top), (left + text_w + 4, top + tall), color, cv2.FILLED)
        dark = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] < 140  # noqa: PLR2004 - BT.601 luma, half way
        ink = (255, 255, 255) if dark else (0, 0, 0)
        cv2.putText(image, text, (left + 2, top + text_h + 2), font, size, ink, weight, cv2.LINE_AA)


def color_of(class_id: int) -> tuple[int, int, int]:
    """A strong BGR color per class; neighbors in number are far apart in hue (the golden angle)."""
    hue = (class_id * 0.618033988749895 + 0.08) % 1.0 * 6.0
    rising = 1.0 - abs(hue % 2.0 - 1.0)
    red, green, blue = (
        (1.0, rising, 0.0),
        (rising, 1.0, 0.0),
        (0.0, 1.0, rising),
        (0.0, rising, 1.0),
        (rising, 0.0, 1.0),
        (1.0, 0.0, rising),
    )[int(hue)]
    return round(30 + 225 * blue), round(30 + 225 * green), round(30 + 225 * red)
