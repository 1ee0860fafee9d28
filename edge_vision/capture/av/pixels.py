"""Turns decoded pictures into BGR, straight into leased buffers.

PyAV converts only into memory that it allocates anew for each picture: at 1080p the fresh pages cost more than the
conversion. The scaler under it writes anywhere, so it is called directly where the layout of the picture is plain; any
other picture goes PyAV's way and is copied.
"""

import ctypes
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.frame import FramePool

_PLAIN: Final = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
"""What nearly every camera and recording decodes to; of others the two ways of converting differ."""
_SLACK_BYTES: Final = 256
"""The scaler may write a few vectors beyond the last row."""
_BICUBIC: Final = 4
"""SWS_BICUBIC, as OpenCV asks for: a picture is the same, bit for bit, whichever library decoded it."""
_WHOLE_STEPS: Final = 16
"""The fast conversions take so many pixels at a time, and leave out the rest of a row that is no multiple of them."""
_FULL_RANGE: Final = 2
"""AVCOL_RANGE_JPEG"""
_ONE: Final = 1 << 16
"""Contrast and saturation as they are."""

_Pointers = ctypes.c_void_p * 4
_Strides = ctypes.c_int * 4


def turns_of(picture: Any) -> int:
    """By how many quarters of a circle, counterclockwise, a decoded picture is to be turned to stand upright."""
    turns: int = round(picture.rotation / 90) % 4
    return turns


class Painter:
    """Makes BGR pictures for one source; used and closed by one thread."""

    def __init__(self, av: Any) -> None:
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._scaler = _Scaler.find(av)
        self._leased, self._upright = FramePool(), FramePool()

    def paint(self, picture: Any) -> NDArray[np.uint8]:
        """The picture as (height, width, 3) uint8 BGR, turned upright, in a buffer that nobody else refers to."""
        turns = turns_of(picture)
        image = self._converted(picture)
        if turns == 0:
            return image
        turned = np.rot90(image, turns)
        upright = self._upright.take(turned.shape)
        np.copyto(upright, turned)
        return upright

    def close(self) -> None:
        """Let go of the scaler."""
        if self._scaler is not None:
            self._scaler.close()

    def _converted(self, picture: Any) -> NDArray[np.uint8]:
        width, height = picture.width, picture.height
        slack_rows = -(-_SLACK_BYTES // (3 * width))
        image = self._leased.take((height + slack_rows, width, 3))[:height]
        plain = width % _WHOLE_STEPS == 0 and picture.format.name in _PLAIN
        if not plain or self._scaler is None or not self._scaler.scale(picture, image):
            painted = self._reformatter.reformat(picture, format="bgr24", interpolation=_BICUBIC, threads=1)
            plane = painted.planes[0]
            np.copyto(image, np.ndarray(image.shape, np.uint8, plane, strides=(plane.line_size, 3, 1)))
        return image


class _Scaler:
    """libswscale, as PyAV brings it along."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._bgr = library.av_get_pix_fmt(b"bgr24")
        self._context: Any = None
        self._of: tuple[int | str, ...] = ()

    @classmethod
    def find(cls, av: Any) -> "_Scaler | None":
        """The scaler that PyAV itself is linked to; None where it cannot be reached."""
        try:
            library = ctypes.CDLL(
                av.video.reformatter.__file__
            )  # its symbols are searched in what it is linked to, too
            library.sws_getContext.restype = ctypes.c_void_p
            library.sws_getContext.argtypes = [ctypes.c_int] * 7 + [ctypes.c_void_p] * 3
            library.sws_scale.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 2 + [ctypes.c_void_p] * 2
            library.sws_getCoefficients.restype = ctypes.c_void_p
            library.sws_setColorspaceDetails.argtypes = [
                ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, *[ctypes.c_int] * 4
            ]  # fmt: skip
            library.sws_freeContext.argtypes = [ctypes.c_void_p]
            library.sws_freeContext.restype = None
            library.av_get_pix_fmt.argtypes = [ctypes.c_char_p]
        except (OSError, AttributeError):
            return None
        return cls(library)

    def scale(self, picture: Any, image: NDArray[np.uint8]) -> bool:
        """Convert a picture into `image`, which has some slack behind it; False when the scaler does not want to."""
        described = (picture.width, picture.height, picture.format.name, picture.colorspace, picture.color_range)
        if described != self._of:
            self._prepare(*described)
            self._of = described
        height = picture.height
        if not self._context:
            return False
        planes = picture.planes
        sources = _Pointers(*(plane.buffer_ptr for plane in planes))
        strides = _Strides(*(plane.line_size for plane in planes))
        to_rows, to_strides = _Pointers(image.ctypes.data), _Strides(image.strides[0])
        rows = self._library.sws_scale(self._context, sources, strides, 0, height, to_rows, to_strides)
        return bool(rows == height)

    def _prepare(self, width: int, height: int, name: str, space: int, span: int) -> None:
        """Set up for pictures of this size, format, color matrix and range of values."""
        self.close()
        library, format_ = self._library, self._library.av_get_pix_fmt(name.encode())
        to = (width, height, self._bgr, _BICUBIC, None, None, None)
        self._context = library.sws_getContext(width, height, format_, *to)
        if self._context:
            full = int(span == _FULL_RANGE or name.startswith("yuvj"))
            matrix = library.sws_getCoefficients(space)  # of an unknown one: BT.601
            library.sws_setColorspaceDetails(self._context, matrix, full, matrix, 1, 0, _ONE, _ONE)

    def close(self) -> None:
        """Free what the scaler has."""
        if self._context:
            self._library.sws_freeContext(self._context)
        self._context, self._of = None, ()
