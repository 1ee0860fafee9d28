"""The last seconds of a camera as small pictures, for clips of sources whose packets are not kept."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import EvidenceError
from edge_vision.core.plugin import require

_QUALITY: Final = 90


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture as JPEG, and its media time."""

    media_ns: int
    jpeg: bytes


class Samples:
    """Samples of the last `span_ns` of media time, in `most_bytes`; at least the newest one."""

    def __init__(self, span_ns: int, most_bytes: int) -> None:
        self._span_ns = span_ns
        self._most_bytes = most_bytes
        self._kept: deque[Sample] = deque()
        self._bytes = 0

    @property
    def newest_ns(self) -> int:
        """Media time of the newest one; -1 when there are none."""
        return self._kept[-1].media_ns if self._kept else -1

    def add(self, sample: Sample) -> None:
        """Keep a sample that is newer than the others, and no more of the old ones than are needed."""
        self._kept.append(sample)
        self._bytes += len(sample.jpeg)
        for _ in range(len(self._kept) - 1):
            needed = self._kept[1].media_ns > sample.media_ns - self._span_ns
            if needed and self._bytes <= self._most_bytes:
                return
            self._bytes -= len(self._kept.popleft().jpeg)

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()
        self._bytes = 0

    def since(self, first_ns: int) -> list[Sample]:
        """Those from a media time on, and the one before it."""
        kept = list(self._kept)
        later = next((number for number, one in enumerate(kept) if one.media_ns > first_ns), len(kept))
        return kept[max(0, later - 1) :]


def fitted(image: NDArray[np.uint8], max_width: int) -> NDArray[np.uint8]:
    """A (height, width, 3) uint8 BGR picture, no wider than `max_width`.

    Its sides are even, as video wants them, and at least 2 pixels each.
    """
    cv2: Any = require("cv2", "cpu")
    height, width = image.shape[:2]
    scale = min(1.0, max_width / width)
    wh = (max(2, int(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2))
    return image if wh == (width, height) else resized(image, wh, cv2.INTER_AREA)


def resized(image: NDArray[np.uint8], wh: tuple[int, int], interpolation: int | None = None) -> NDArray[np.uint8]:
    """A picture of another width and height."""
    cv2: Any = require("cv2", "cpu")
    small: NDArray[np.uint8] = cv2.resize(image, wh, interpolation=interpolation or cv2.INTER_AREA)
    return small


def encoded(image: NDArray[np.uint8], quality: int = _QUALITY) -> bytes:
    """A picture as JPEG, of `quality` 1 to 100. Raises EvidenceError for one that JPEG cannot hold."""
    cv2: Any = require("cv2", "cpu")
    try:
        ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        ok, jpeg = False, b""
    if not ok:
        raise EvidenceError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be written as JPEG")
    return bytes(jpeg)


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    """The picture again."""
    cv2: Any = require("cv2", "cpu")
    image: NDArray[np.uint8] = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return image
