"""A picture to draw on, in the pixels of the frame; lines and letters are legible at any size."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.plugin import require
from edge_vision.publish.drawing.colors import Color, ink_on
from edge_vision.publish.drawing.letters import drawable

_LEAST_PX: Final = 320
"""A picture whose longer side is less is enlarged: letters need room."""
_MOST_STACKED: Final = 12
_PAD: Final = 2

Box: TypeAlias = tuple[int, int, int, int]


class Canvas:
    """A copy of a picture. Thickness and text grow with it: 2 px and 0.5 on 640x480, more on 4K.

    Every position is given in pixels of the picture that it was made of.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._cv2: Any = require("cv2", "cpu")
        height, width = image.shape[:2]
        self._times = max(1, -(-_LEAST_PX // max(width, height)))
        enlarged = self._times > 1
        self.image: NDArray[np.uint8] = (
            image.repeat(self._times, axis=0).repeat(self._times, axis=1) if enlarged else image.copy()
        )
        self._height, self._width = self.image.shape[:2]
        unit = max(self._width, self._height) / 640
        self._line = max(1, round(2 * unit))
        self._size = max(0.4, 0.5 * unit)
        self._weight = max(1, round(self._size * 1.6))
        self._taken: list[Box] = []
        self._clear: list[Box] = []

    @property
    def wh(self) -> tuple[float, float]:
        """Width and height, in the pixels that positions are given in."""
        return self._width / self._times, self._height / self._times

    def outline(self, points: NDArray[Any], color: Color, *, closed: bool = True, thin: bool = False) -> None:
        """Lines from point to point (k, 2)."""
        thickness = max(1, self._line // 2) if thin else self._line
        self._cv2.polylines(self.image, [self._at(points)], closed, color, thickness, self._cv2.LINE_AA)

    def fill(self, points: NDArray[Any], color: Color, opacity: float) -> None:
        """A polygon (k, 2) through which the picture can be seen."""
        corners = self._at(points)
        left, top, right, bottom = self._inside(*corners.min(axis=0).tolist(), *(corners.max(axis=0) + 1).tolist())
        if left < right and top < bottom:
            grid = np.zeros((bottom - top, right - left), np.uint8)
            self._cv2.fillPoly(grid, [corners - np.array([left, top])], 1)
            self._blend(grid.astype(bool), (left, top, right, bottom), color, opacity)

    def grid(self, grid: NDArray[np.bool_], box: Sequence[float], color: Color, opacity: float) -> None:
        """A mask (rows, columns) laid over a box, whatever its resolution, with its outline."""
        left, top, right, bottom = self._box(box)
        if right <= left or bottom <= top or 0 in grid.shape:
            return
        cv2 = self._cv2
        whole = cv2.resize(grid.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
        spot = self._inside(left, top, right, bottom)
        if spot[0] >= spot[2] or spot[1] >= spot[3]:
            return
        self._blend(whole[spot[1] - top : spot[3] - top, spot[0] - left : spot[2] - left] > 0, spot, color, opacity)
        rims, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
        cv2.drawContours(self.image, rims, -1, color, max(1, self._line // 2), cv2.LINE_AA)

    def dot(self, point: NDArray[Any], color: Color) -> None:
        """A small disk."""
        (center,) = self._at(point[None]).tolist()
        self._cv2.circle(self.image, center, self._line + 1, color, self._cv2.FILLED, self._cv2.LINE_AA)

    def arrow(self, start: NDArray[Any], end: NDArray[Any], color: Color) -> None:
        """A line with a head at its end."""
        begin, tip = self._at(np.stack([start, end])).tolist()
        self._cv2.arrowedLine(self.image, begin, tip, color, self._line, self._cv2.LINE_AA, tipLength=0.35)

    def keep_clear(self, boxes: Iterable[Sequence[float]]) -> None:
        """Boxes that labels of others should not cover where there is room elsewhere."""
        self._clear = [self._box(box) for box in boxes]

    def tag(self, text: str, box: Sequence[float], color: Color) -> None:
        """A filled label at a box, where it covers no other: above it, else inside, else below, else farther off.

        Those of the whole picture stand one below the other, in the order in which they come.
        """
        text = self._cut(text)
        wide, tall, rise = self._measured(text)
        own = self._box(box)
        left, top, _, bottom = own
        left = int(np.clip(left, 0, max(0, self._width - wide)))
        near: tuple[int, ...] = (top - tall, top, bottom - tall, bottom)
        if top <= 0 and bottom >= self._height:
            near = tuple(tall * step for step in range(_MOST_STACKED))
        far = (top + tall * step for step in (*range(1, _MOST_STACKED), *range(-2, -_MOST_STACKED, -1)))
        free = [spot for spot in self._spots(near, left, wide, tall) if not _overlaps(spot, self._taken)]
        best = [spot for spot in free if not _overlaps(spot, [one for one in self._clear if one != own])]
        rest = [spot for spot in self._spots(far, left, wide, tall) if not _overlaps(spot, self._taken)]
        anywhere = [*self._spots(near, left, wide, tall), (left, 0, left + wide, tall)]
        self._label(text, [*best, *free, *rest, *anywhere][0], rise, color)

    def corner(self, lines: Iterable[str], color: Color, *, bottom: bool = False) -> None:
        """Lines of text one below the other, in the top left corner or in the bottom left one."""
        shown = [self._cut(line) for line in lines]
        tall = self._measured("Ag")[1]
        top = self._height - tall * len(shown) if bottom else 0
        for number, text in enumerate(shown):
            wide, _, rise = self._measured(text)
            self._label(text, (0, top + tall * number, wide, top + tall * (number + 1)), rise, color)

    def _box(self, box: Sequence[float]) -> Box:
        left, top, right, bottom = (round(edge * self._times) for edge in box)
        return left, top, right, bottom

    def _spots(self, tops: Iterable[int], left: int, wide: int, tall: int) -> list[Box]:
        """Places for a label that lie in the picture."""
        return [(left, top, left + wide, top + tall) for top in tops if 0 <= top <= self._height - tall]

    def _at(self, points: NDArray[Any]) -> NDArray[np.int32]:
        reach = 16 * max(self._width, self._height)  # beyond it OpenCV's own arithmetic runs over
        return np.rint(np.clip(points * float(self._times), -reach, reach)).astype(np.int32)

    def _inside(self, left: int, top: int, right: int, bottom: int) -> Box:
        return max(0, left), max(0, top), min(self._width, right), min(self._height, bottom)

    def _blend(self, where: NDArray[np.bool_], spot: Box, color: Color, opacity: float) -> None:
        part = self.image[spot[1] : spot[3], spot[0] : spot[2]]
        part[where] = np.rint(part[where] * (1 - opacity) + np.array(color) * opacity).astype(np.uint8)

    def _measured(self, text: str) -> tuple[int, int, int]:
        """Width and height of a label, and how far its base line is below its top."""
        font = self._cv2.FONT_HERSHEY_SIMPLEX
        (wide, rise), baseline = self._cv2.getTextSize(drawable(text), font, self._size, self._weight)
        return wide + 2 * _PAD, rise + baseline + 2 * _PAD, rise + _PAD

    def _cut(self, text: str) -> str:
        """As much of a text as fits the picture's width."""
        plain = drawable(text)
        wide = self._measured(plain)[0]
        if wide <= self._width:
            return plain
        return plain[: max(1, len(plain) * self._width // wide - 3)] + "..."

    def _label(self, text: str, spot: Box, rise: int, color: Color) -> None:
        cv2, start = self._cv2, (spot[0] + _PAD, spot[1] + rise)
        cv2.rectangle(self.image, spot[:2], spot[2:], color, cv2.FILLED)
        font, ink = cv2.FONT_HERSHEY_SIMPLEX, ink_on(color)
        cv2.putText(self.image, drawable(text), start, font, self._size, ink, self._weight, cv2.LINE_AA)
        self._taken.append(spot)


def _overlaps(spot: Box, others: Iterable[Box]) -> bool:
    return any(_overlap(spot, other) for other in others)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
