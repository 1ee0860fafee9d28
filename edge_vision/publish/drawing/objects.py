"""Draws what is known of each object: box or corners, mask, keypoints, its way, and a label with the rest."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.publish.drawing.canvas import Canvas
from edge_vision.publish.drawing.colors import VERDICTS, Color, color_of

_TRAIL_NS: Final = 2_000_000_000
_MOST_POINTS: Final = 64
_LEAST_SURE: Final = 0.3
"""Keypoints of less confidence are not drawn."""
_MOST_CLEAR: Final = 40
"""With more objects labels may cover them: there is no room to look for."""
_MASK_OPACITY: Final = 0.4
_COCO_LIMBS: Final = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
"""`skeleton` of the person category in COCO's keypoint annotations, counted from 0."""
_LIMBS: Final = {17: _COCO_LIMBS}
"""By the number of keypoints; others are drawn as points."""


class Trails:
    """Where each track came from, over the last two seconds of media time."""

    def __init__(self) -> None:
        self._points: dict[int, deque[tuple[int, NDArray[np.float32]]]] = {}
        self._now_ns = 0

    def follow(self, seen: Detections, media_ns: int) -> None:
        """Take in where the tracks are now; a media clock that jumps back begins anew."""
        if media_ns < self._now_ns:
            self._points.clear()
        self._now_ns = media_ns
        if seen.track_id is not None:
            centers = (seen.xyxy[:, :2] + seen.xyxy[:, 2:]) / 2
            for number, center in zip(seen.track_id.tolist(), centers, strict=True):
                if number == 0:
                    continue  # not tracked
                self._points.setdefault(number, deque(maxlen=_MOST_POINTS)).append((media_ns, center))
        old = [number for number, trail in self._points.items() if media_ns - trail[-1][0] > _TRAIL_NS]
        for number in old:
            del self._points[number]

    def draw(self, canvas: Canvas) -> None:
        """A line behind each track."""
        for number, trail in self._points.items():
            points = [point for then_ns, point in trail if self._now_ns - then_ns <= _TRAIL_NS]
            if len(points) > 1:
                canvas.outline(np.stack(points), color_of(number), closed=False, thin=True)


def draw_shapes(canvas: Canvas, seen: Detections) -> None:
    """Where every object is, the surest on top."""
    colors = _colors(seen)
    for row in reversed(range(len(seen))):
        _draw_shape(canvas, seen, row, colors[row])


def draw_tags(canvas: Canvas, seen: Detections, labels: tuple[str, ...]) -> None:
    """What is known of every object, in words."""
    boxes = seen.xyxy.tolist()
    canvas.keep_clear(boxes if len(boxes) <= _MOST_CLEAR else [])
    for text, box, color in zip(_texts(seen, labels), boxes, _colors(seen), strict=True):
        canvas.tag(text, box, color)


def _colors(seen: Detections) -> list[Color]:
    """Those of verdicts where there are some, else of the tracks, else of the classes."""
    tracks = np.zeros(len(seen), np.int32) if seen.track_id is None else seen.track_id
    numbers = np.where(tracks > 0, tracks, seen.class_id)
    verdicts = seen.attributes.get("verdict", np.full(len(seen), ""))
    return [
        VERDICTS.get(verdict) or color_of(number)
        for verdict, number in zip(verdicts.tolist(), numbers.tolist(), strict=True)
    ]


def _draw_shape(canvas: Canvas, seen: Detections, row: int, color: Color) -> None:
    left, top, right, bottom = seen.xyxy[row]
    if seen.mask is not None:
        canvas.grid(seen.mask[row], seen.xyxy[row].tolist(), color, _MASK_OPACITY)
    if seen.quad is not None:
        canvas.outline(seen.quad[row], color)
        canvas.dot(seen.quad[row, 0], color)  # the object's own top left
    else:
        canvas.outline(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), color)
    if seen.keypoints is not None:
        points = seen.keypoints[row]
        sure = points[:, 2] >= _LEAST_SURE
        for one, other in _LIMBS.get(len(points), ()):
            if sure[one] and sure[other]:
                canvas.outline(points[[one, other], :2], color, closed=False)
        for place in np.flatnonzero(sure):
            canvas.dot(points[place, :2], color)


def _texts(seen: Detections, labels: tuple[str, ...]) -> Iterator[str]:
    """What the label of each object says: class, number, score, what was read, and the attributes known of it."""
    for row, (class_id, score) in enumerate(zip(seen.class_id.tolist(), seen.confidence.tolist(), strict=True)):
        name = labels[class_id] if 0 <= class_id < len(labels) else str(class_id)
        track = f" #{seen.track_id[row]}" if seen.track_id is not None and seen.track_id[row] > 0 else ""
        words = [f"{name}{track} {score:.2f}"]
        if seen.text is not None and seen.text[row]:
            words.append(f'"{seen.text[row]}"')
        for attribute, column in seen.attributes.items():
            if attribute.endswith("_confidence"):
                continue  # of an answer that stands beside it: a message has it
            value = column[row]
            if column.dtype.kind == "U":
                words += [f"{attribute} {value}"] if value else []
            elif not np.isnan(value):
                words.append(f"{attribute} {value:.3g}")
        yield " ".join(words)
