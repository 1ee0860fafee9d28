"""Recordings made for a test, with PyAV's own encoders: any codec, size, reordering, color tags and rotation."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 25


def picture(number: int, wh: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture with colors, edges and something that moves: (height, width, 3) uint8 BGR."""
    width, height = wh
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([(columns * 2) % 256, (rows * 3) % 256, (rows + columns + 5 * number) % 256], axis=2)
    image[height // 4 : height // 2, (number * 3) % (width // 2) : (number * 3) % (width // 2) + width // 4] = (
        0,
        0,
        255,
    )
    return image.astype(np.uint8)


def record(
    file: Path, count: int, wh: tuple[int, int] = (64, 48), codec: str = "libx264", *, pix_fmt: str = "yuv420p",
    tags: dict[str, Any] | None = None, container: str | None = None, **options: str,
) -> Path:  # fmt: skip
    """Write `count` pictures at 25 per second. `tags` are attributes of the encoder, `options` its own."""
    with av.open(str(file), "w", format=container) as target:
        stream: Any = target.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *wh, pix_fmt
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, wh), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return file


def rotate(file: Path, degrees: int) -> None:
    """Write a turn by so many degrees, clockwise, into the header of an MP4's (only) track."""
    one = 1 << 16
    cosine, sine = {0: (one, 0), 90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees]
    raw = bytearray(file.read_bytes())
    place = raw.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version and flags, times and ids, reserved, layer to volume
    raw[place : place + 36] = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    file.write_bytes(bytes(raw))


def join(file: Path, *parts: Path) -> Path:
    """MPEG transport streams one behind the other."""
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    return file
