"""Writes into an MP4 how players are to turn its picture: PyAV 18.1 does so only for what it encodes itself."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

_ONE: Final = 1 << 16
_HEADER: Final = 8
"""Bytes of a box's size and name."""
_MATRICES: Final = {1: (0, -_ONE, _ONE, 0), 2: (-_ONE, 0, 0, -_ONE), 3: (0, _ONE, -_ONE, 0)}
"""By quarters of a circle, counterclockwise: the four numbers of the matrix that turn (ISO/IEC 14496-12, 8.3.2)."""
_BEFORE_MATRIX: Final = {0: 48, 1: 60}
"""Bytes of a `tkhd` box before its matrix, by its version: times have 32 or 64 bits."""


def turn(stream: BinaryIO, turns: int) -> None:
    """Have players turn a complete MP4 of one track by so many quarters of a circle, counterclockwise: 1 to 3.

    Raises ValueError for a file that has no track; OSError.
    """
    end = stream.seek(0, 2)
    for name, begin, finish in _boxes(stream, 0, end):
        if name != b"moov":
            continue
        for inner, at, until in _boxes(stream, begin + _HEADER, finish):
            header = next((box for box in _boxes(stream, at + _HEADER, until) if box[0] == b"tkhd"), None)
            if inner != b"trak" or header is None:
                continue
            stream.seek(header[1] + _HEADER)
            place = header[1] + _BEFORE_MATRIX[stream.read(1)[0]]
            a, b, c, d = _MATRICES[turns]
            stream.seek(place)
            stream.write(struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
            stream.flush()
            return
    msg = "the clip has no track to be turned"
    raise ValueError(msg)


def _boxes(stream: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each box between two places."""
    for _ in range(max(0, end - at) // _HEADER):
        if at + _HEADER > end:
            return
        stream.seek(at)
        size, name = struct.unpack(">I4s", stream.read(_HEADER))
        if size == 1:  # of 4 GB and more
            (size,) = struct.unpack(">Q", stream.read(8))
        if size < _HEADER:
            return
        yield name, at, at + size
        at += size
