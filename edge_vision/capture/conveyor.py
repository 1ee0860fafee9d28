"""Draws a make-believe factory conveyor, frame by frame, together with the exact place of every part on it.

The demo, the tests and the training of the demo detector all look at this one line. Frame `index` depends
only on the constructor's arguments, so any frame can be drawn at any time and in any order.

Lengths are pixels, or "base lengths": the shorter side of the picture, so that the line looks the same at
every resolution. Slots follow each other at a fixed pitch; each holds nothing, one part, or two abreast.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vision.capture.conveyor_art import Sprite, draw_belt, draw_part, draw_rails
from edge_vision.capture.conveyor_defects import DEFECTS

LABELS: tuple[str, ...] = ("bolt", "washer", "bracket")
SURFACES: tuple[str, ...] = ("part", *DEFECTS)
"""What a pixel can belong to, from 1 on; 0 is everything else."""

MIN_SIDE_PX = 64
MIN_VISIBLE = 0.4
"""A part enters the truth when this share of its own area lies inside the picture."""

_SPEED = 0.36  # base lengths per second
_PITCH = 0.42  # base lengths between two slots on the line
_ALONG_JITTER = 0.028  # base lengths; small enough that neighbors never touch
_RAIL = 0.085  # height of each side rail, base lengths
_RADIUS = ((0.145, 0.168), (0.088, 0.125), (0.118, 0.150))  # per class: smallest, largest; base lengths
_LARGEST = max(largest for _, largest in _RADIUS)
_LANE_HALF_GAP = 0.195  # two parts abreast: half the distance of their centers, base lengths
_MARGIN = 0.02  # least distance of a part from the rail, base lengths
_SHARE_EMPTY, _SHARE_SINGLE = 0.08, 0.68  # of the slots; the others hold two parts abreast
_CACHED_SLOTS = 8  # beyond those in view


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is really on one frame.

    Attributes:
        xyxy: float32 (n, 4), pixels, tight around what can be seen of the part, inside the picture.
        class_id: int32 (n,), index into `LABELS`.
        part_id: int32 (n,), serial number of the part on the line, the same on every frame that shows it.
        defect_id: int32 (n,), index into `DEFECTS`, -1 for a good part.

    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int32]
    part_id: NDArray[np.int32]
    defect_id: NDArray[np.int32]

    @property
    def defective(self) -> NDArray[np.bool_]:
        """Whether each part has a defect, bool (n,)."""
        return self.defect_id >= 0


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One part on the line; `left` is where its sprite begins when the belt has not moved."""

    part_id: int
    class_id: int
    defect_id: int
    left: int
    top: int
    sprite: Sprite


class Conveyor:
    """A belt that carries bolts, washers and brackets from left to right.

    Not for sharing between threads: it keeps the sprites of the parts in view.
    """

    def __init__(
        self,
        wh: tuple[int, int],
        fps: float,
        seed: int = 0,
        *,
        light: float = 1.0,
        belt_bgr: tuple[int, int, int] = (60, 57, 53),
        defect_rate: float = 0.18,
        part_rate: float = 1.0,
    ) -> None:
        """Prepare the belt.

        Args:
            wh: width and height of the frames, pixels, each at least 64.
            fps: frames per second; the belt's speed is constant in time, not per frame.
            seed: another seed is another line: other parts in another order on another belt.
            light: brightness of the lamp; 1 is normal, sensible from 0.5 to 1.5.
            belt_bgr: mean color of the rubber, BGR, 0..255.
            defect_rate: share of parts that have a visible defect, 0..1.
            part_rate: share of the usual number of parts, 0..1; 0 is an empty belt.

        """
        if min(wh) < MIN_SIDE_PX or fps <= 0:
            raise ValueError(f"a conveyor needs at least 64x64 pixels and fps above 0, not {wh} and {fps}")
        self._wh = wh
        self._seed = seed
        self._light = light
        self._defect_rate = defect_rate
        self._part_rate = part_rate
        self._base = min(wh)
        self._rail = max(3, round(_RAIL * self._base))
        self._px_per_frame = _SPEED * self._base / fps
        self._pitch = _PITCH * self._base
        self._reach = math.ceil((_LARGEST * 1.4 + _ALONG_JITTER) * self._base) + 3
        rng = np.random.default_rng((seed, 0))
        self._belt = draw_belt(rng, (wh[0], wh[1] - 2 * self._rail), self._base, belt_bgr, light)
        self._rails = draw_rails(rng, (wh[0], self._rail), light)
        self._period = self._belt.shape[1] - wh[0]
        self._slots: OrderedDict[int, tuple[_Part, ...]] = OrderedDict()

    def draw(self, index: int, out: NDArray[np.uint8]) -> None:
        """Fill `out`, uint8 (height, width, 3) BGR, with frame `index` (0 or more)."""
        width, height = self._wh
        if out.shape != (height, width, 3) or out.dtype != np.uint8:
            raise ValueError(f"draw() fills uint8 {(height, width, 3)}, not {out.dtype} {out.shape}")
        moved = self._moved(index)
        begin = -moved % self._period
        out[: self._rail] = self._rails[0]
        out[height - self._rail :] = self._rails[1]
        out[self._rail : height - self._rail] = self._belt[:, begin : begin + width]
        for part in self._in_view(moved):
            _blit(part.sprite, part.left + moved, part.top, out)

    def truth(self, index: int) -> Truth:
        """Return the parts of frame `index` of which at least two fifths can be seen, sorted by `part_id`."""
        moved = self._moved(index)
        boxes: list[tuple[int, int, int, int]] = []
        parts: list[_Part] = []
        for part in self._in_view(moved):
            left = part.left + moved
            solid = part.sprite.solid
            x0, y0 = max(-left, 0), max(-part.top, 0)
            seen = solid[y0 : self._wh[1] - part.top, x0 : max(self._wh[0] - left, 0)]
            if np.count_nonzero(seen) >= MIN_VISIBLE * np.count_nonzero(solid):
                rows, columns = np.flatnonzero(seen.any(axis=1)) + y0, np.flatnonzero(seen.any(axis=0)) + x0
                box = (columns[0] + left, rows[0] + part.top, columns[-1] + left + 1, rows[-1] + part.top + 1)
                boxes.append(box)
                parts.append(part)
        return Truth(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            class_id=np.array([part.class_id for part in parts], np.int32),
            part_id=np.array([part.part_id for part in parts], np.int32),
            defect_id=np.array([part.defect_id for part in parts], np.int32),
        )

    def surfaces(self, index: int) -> NDArray[np.uint8]:
        """Say what every pixel of frame `index` belongs to, (height, width): 0, or 1 + an index into `SURFACES`."""
        moved, (width, height) = self._moved(index), self._wh
        out = np.zeros((height, width), np.uint8)
        for part in self._in_view(moved):
            sprite, left = part.sprite, part.left + moved
            x0, y0 = max(-left, 0), max(-part.top, 0)
            piece = slice(y0, max(height - part.top, 0)), slice(x0, max(width - left, 0))
            target = out[max(part.top, 0) :, max(left, 0) :]
            target = target[: len(sprite.solid[piece]), : sprite.solid[piece].shape[1]]
            target[sprite.solid[piece]] = 1
            target[sprite.flaw[piece]] = 2 + part.defect_id
        return out

    def _moved(self, index: int) -> int:
        """Return how far the belt has come at frame `index`: whole pixels, so that nothing is resampled."""
        return round(index * self._px_per_frame)

    def _in_view(self, moved: int) -> list[_Part]:
        """Return the parts that may touch the picture, by rising part_id (the lowest is furthest right)."""
        first = max(0, math.floor((moved - self._reach) / self._pitch))
        last = math.ceil((moved + self._wh[0] + self._reach) / self._pitch)
        parts: list[_Part] = []
        for slot in range(first, last + 1):
            if slot not in self._slots:
                self._slots[slot] = self._fill(slot)
            self._slots.move_to_end(slot)
            parts.extend(self._slots[slot])
        for _ in range(len(self._slots) - (last - first + 1 + _CACHED_SLOTS)):
            self._slots.popitem(last=False)
        return parts

    def _fill(self, slot: int) -> tuple[_Part, ...]:
        """Decide what lies in one slot of the line: nothing, one part, or two abreast."""
        rng = np.random.default_rng((self._seed, 1, slot))
        kind = rng.random()
        count = 0 if kind < _SHARE_EMPTY else 1 if kind < _SHARE_EMPTY + _SHARE_SINGLE else 2
        if rng.random() >= self._part_rate:
            count = 0
        half_belt = self._wh[1] / 2 - self._rail
        slack = half_belt - (_LARGEST + _MARGIN + _LANE_HALF_GAP * max(count - 1, 0)) * self._base
        middle = self._wh[1] / 2 + rng.uniform(-1, 1) * max(slack, 0)
        parts = []
        for lane in range(count):
            class_id = int(rng.integers(len(LABELS)))
            defect_id = int(rng.integers(len(DEFECTS))) if rng.random() < self._defect_rate else -1
            y = middle + (2 * lane - 1) * _LANE_HALF_GAP * self._base * (count - 1)
            x = self._wh[0] - slot * self._pitch + rng.uniform(-1, 1) * _ALONG_JITTER * self._base
            radius = rng.uniform(*_RADIUS[class_id]) * self._base
            lamp = self._light * (1.0 - 0.10 * (2 * y / self._wh[1] - 1))
            sprite = draw_part(rng, class_id, radius, lamp, None if defect_id < 0 else defect_id)
            rows, columns = sprite.add.shape[:2]
            left, top = round(x - columns / 2), round(y - rows / 2)
            parts.append(_Part(2 * slot + lane, class_id, defect_id, left, top, sprite))
        return tuple(parts)


def _blit(sprite: Sprite, left: int, top: int, out: NDArray[np.uint8]) -> None:
    """Lay a sprite over `out` in place; what lies outside is cut off."""
    rows, columns = sprite.add.shape[:2]
    x0, x1 = max(left, 0), min(left + columns, out.shape[1])
    y0, y1 = max(top, 0), min(top + rows, out.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    target = out[y0:y1, x0:x1]
    piece = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    cv2.multiply(target, sprite.keep[piece], dst=target, scale=1 / 255)
    cv2.add(target, sprite.add[piece], dst=target)
