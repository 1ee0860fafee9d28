"""A picture with its times, and the pool that lends out the memory behind it."""

import sys
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one source.

    `index` counts the frames a source produced since the process started; a jump means frames were lost.
    `timestamp` is UTC wall-clock time, for people. `captured_ns` is monotonic time at which the picture was in
    hand, for latency. `media_ns` is presentation time, for dwell and speed (a file runs faster than real time).
    `image` is a (height, width, 3) uint8 BGR array, read-only and lent by a `FramePool`: it stays unchanged for as
    long as somebody holds it.
    """

    source_id: str
    index: int
    timestamp: datetime
    captured_ns: int
    media_ns: int
    image: NDArray[np.uint8]

    @property
    def wh(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.image.shape[1], self.image.shape[0]


class FramePool:
    """Lends out image buffers and takes one back when nobody refers to it any more.

    A lease is an ordinary reference to the array or to any view of it: holding one is enough to keep the
    pixels, dropping it is enough to return them (docs/adr/002). One thread takes buffers from a pool.
    """

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._shape: tuple[int, ...] = ()
        self._buffers: list[NDArray[np.uint8]] = []
        self._turn = 0
        probe = [np.empty(0, np.uint8)]
        self._references_when_free = _references(probe, 0)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A writable uint8 array of `shape` that nobody else refers to; its contents are undefined.

        Past `limit` leased buffers the array is a fresh one that does not come back to the pool, so that memory is
        bounded by what the holders keep.
        """
        if shape != self._shape:
            self._shape = shape
            self._buffers = []
        count = len(self._buffers)
        for step in range(count):  # round robin: the buffer returned longest ago first
            place = (self._turn + step) % count
            if _references(self._buffers, place) == self._references_when_free:
                self._turn = place + 1
                return self._buffers[place]
        buffer = np.empty(shape, np.uint8)
        if count < self._limit:
            self._buffers.append(buffer)
        return buffer


def _references(buffers: list[NDArray[np.uint8]], place: int) -> int:
    """How often CPython counts the array at `place`; compared only with itself on an array known to be free."""
    return sys.getrefcount(buffers[place])


def read_only(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view of `image` that cannot be written through; it keeps the buffer leased."""
    view: NDArray[np.uint8] = image.view()
    view.flags.writeable = False
    return view
