"""Draws what was seen onto a picture: boxes, names and scores, legible on any background and at any size."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene

_Box: TypeAlias = tuple[int, int, int, int]
_Color: TypeAlias = tuple[int, int, int]


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
        labels = scene.labels
        seen = scene.detections
        boxes = np.rint(seen.xyxy).astype(int).tolist()
        names = [labels[number] if number < len(labels) else str(number) for number in seen.class_id.tolist()]
        colors = [color_of(number) for number in seen.class_id.tolist()]
        for box, color in zip(reversed(boxes), reversed(colors), strict=True):  # the surest comes last, on top
            self._cv2.rectangle(image, tuple(box[:2]), tuple(box[2:]), color, line, self._cv2.LINE_AA)
        taken: list[_Box] = []
        for box, name, score, color in zip(boxes, names, seen.confidence.tolist(), colors, strict=True):
            taken.append(self._tag(image, f"{name} {score:.2f}", box, color, max(0.4, 0.5 * unit), taken))
        return image

    def _tag(
        self, image: NDArray[np.uint8], text: str, box: list[int], color: _Color, size: float, taken: list[_Box]
    ) -> _Box:
        """A filled label at the box, where it covers no other: above it, else inside, else below."""
        cv2 = self._cv2
        font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(size * 1.6))
        (text_w, text_h), baseline = cv2.getTextSize(text, font, size, weight)
        wide, tall = text_w + 4, text_h + baseline + 4
        height, width = image.shape[:2]
        left = int(np.clip(box[0], 0, max(0, width - wide)))
        tops = [top for top in (box[1] - tall, box[1], box[3] - tall, box[3]) if 0 <= top <= height - tall]
        spots = [(left, top, left + wide, top + tall) for top in tops] or [(left, 0, left + wide, tall)]
        spot = next((one for one in spots if not any(_overlap(one, other) for other in taken)), spots[0])
        cv2.rectangle(image, spot[:2], spot[2:], color, cv2.FILLED)
        dark = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] < 140  # noqa: PLR2004 - BT.601 luma, half way
        ink = (255, 255, 255) if dark else (0, 0, 0)
        cv2.putText(image, text, (spot[0] + 2, spot[1] + text_h + 2), font, size, ink, weight, cv2.LINE_AA)
        return spot


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def color_of(class_id: int) -> _Color:
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
