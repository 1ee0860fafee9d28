"""Writes clips: packets as they came from the camera, or pictures that are encoded anew; both as MP4."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import EvidenceError, MissingLibraryError
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.core.plugin import require
from edge_vision.publish.evidence.bitstream import parameter_sets, with_start_codes
from edge_vision.publish.evidence.store import Draft
from edge_vision.publish.evidence.turning import turn

_log = logging.getLogger(__name__)

_ENCODERS: Final = ("libx264", "libopenh264", "mpeg4")
"""H.264 first: browsers play it."""
_TICKS: Final = 90_000
"""Of a second: MP4's usual clock."""
_MOST_REPEATED: Final = 300


class Pictures(Protocol):
    """A clip that is made of pictures."""

    def add(self, image: NDArray[np.uint8], media_ns: int) -> None:
        """The next (height, width, 3) uint8 BGR picture, all of one size. Raises EvidenceError."""

    def finish(self) -> None:
        """No more pictures: the file is complete. Raises EvidenceError."""


class PacketClip:
    """Packets of a camera, in the order in which they are decoded, without decoding them."""

    def __init__(self, stream: BinaryIO, track: EncodedTrack) -> None:
        self._av: Any = require("av", "av")
        self._packet: Any = require("av.packet", "av").Packet
        self._stream = stream
        self._time_base = track.time_base
        self._turns = track.turns
        self._start = 0
        self._key: int | None = None
        self._last = 0
        with _translated(self._av):
            self._codec, self._sets = track.codec, parameter_sets(track)
            self._file = self._av.open(stream, "w", format="mp4")
            self._track = self._file.add_mux_stream(track.codec, width=track.wh[0], height=track.wh[1])
            self._track.time_base = Fraction(1, _TICKS)

    def add(self, packets: Sequence[Packet]) -> None:
        """The next packets; the first one of all is a key frame. Raises EvidenceError.

        Pictures that are shown before it need others that are not there, and are left out.
        """
        if not packets:
            return
        with _translated(self._av):
            units = b""
            if self._key is None:
                self._key, units = packets[0].pts, self._sets.units  # MP4's own record is made of what comes first
                packets = _evened([packet for packet in packets if packet.pts >= packets[0].pts])
                self._start, self._last = packets[0].pts, packets[0].dts - 1  # shown from the first moment on
            for packet in packets:
                dts = max(packet.dts, self._last + 1)
                if not self._key <= packet.pts or dts > packet.pts:
                    continue
                self._last = dts
                written = self._packet(units + with_start_codes(packet.data, self._sets.length_bytes))
                units = b""
                written.stream = self._track
                written.time_base = self._time_base
                written.pts, written.dts = packet.pts - self._start, dts - self._start
                written.duration = packet.duration
                written.is_keyframe = packet.is_key
                self._file.mux_one(written)

    def finish(self) -> None:
        """Write the index: the file is complete. Raises EvidenceError, also where nobody could read it.

        MP4 wants to know more of some codecs (VP9, AV1) than their packets tell, and is written without a complaint.
        """
        with _translated(self._av):
            self._file.close()
            if self._turns:  # players turn it as the frames of the camera were
                turn(self._stream, self._turns)
            self._stream.seek(0)
        try:
            with self._av.open(self._stream, format="mp4") as written:
                whole = bool(written.streams.video)
        except self._av.FFmpegError:
            whole = False
        if not whole:
            raise EvidenceError(f"packets of {self._codec} make no clip that can be read; use another source than av")


class AvPictures:
    """Pictures encoded by FFmpeg, each at its own time."""

    def __init__(self, stream: BinaryIO, fps: float, wh: tuple[int, int]) -> None:
        self._av: Any = require("av", "av")
        self._start_ns: int | None = None
        codec = next(name for name in _ENCODERS if name in self._av.codecs_available)
        with _translated(self._av):
            self._file = self._av.open(stream, "w", format="mp4")
            self._track = self._file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
            self._track.width, self._track.height = wh
            self._track.pix_fmt = "yuv420p"
            context = self._track.codec_context
            context.thread_count = 1
            context.time_base = Fraction(1, _TICKS)
            if codec == "libx264":
                context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}
            else:
                context.bit_rate = 2_000_000

    def add(self, image: NDArray[np.uint8], media_ns: int) -> None:
        """The next picture. Raises EvidenceError."""
        self._start_ns = media_ns if self._start_ns is None else self._start_ns
        with _translated(self._av):
            frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.time_base = Fraction(1, _TICKS)
            frame.pts = (media_ns - self._start_ns) * _TICKS // 1_000_000_000
            self._file.mux(self._track.encode(frame))

    def finish(self) -> None:
        """Encode what is left, and write the index. Raises EvidenceError."""
        with _translated(self._av):
            self._file.mux(self._track.encode(None))
            self._file.close()


class OpenCvPictures:
    """Pictures encoded by OpenCV, where PyAV is absent: MPEG-4, at a steady rate, to which times are rounded."""

    def __init__(self, path: str, fps: float, wh: tuple[int, int]) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._fps = fps
        self._path = path
        self._last: tuple[NDArray[np.uint8], int] | None = None
        self._writer = self._cv2.VideoWriter(path, self._cv2.VideoWriter_fourcc(*"mp4v"), fps, wh)
        if not self._writer.isOpened():
            raise EvidenceError("this build of OpenCV writes no MP4: pip install 'edge-vision[av]'")

    def add(self, image: NDArray[np.uint8], media_ns: int) -> None:
        """The next picture; the one before it is shown until then."""
        if self._last is not None:
            before, then_ns = self._last
            for _ in range(min(_MOST_REPEATED, max(1, round((media_ns - then_ns) / 1e9 * self._fps)))):
                self._writer.write(before)
        self._last = image, media_ns

    def finish(self) -> None:
        """Write the last picture and the index. Raises EvidenceError where the file is not whole, as on a full disk."""
        if self._last is not None:
            self._writer.write(self._last[0])
        self._writer.release()
        written = self._cv2.VideoCapture(self._path, self._cv2.CAP_FFMPEG)
        whole = written.isOpened() and written.get(self._cv2.CAP_PROP_FRAME_COUNT) > 0
        written.release()
        if not whole:
            raise EvidenceError("the clip was not written whole; is the disk full?")


def _evened(packets: Sequence[Packet]) -> list[Packet]:
    """The same, the first ones decoded no earlier than is needed.

    A camera that was just opened tells at first when pictures are shown, not when they are to be decoded.
    """
    shown = sorted(packet.pts for packet in packets)
    delay = max(pts - packet.pts for pts, packet in zip(shown, packets, strict=True))
    needed = [max(packet.dts, pts - delay) for pts, packet in zip(shown, packets, strict=True)]
    told = next((place for place, one in enumerate(packets) if one.dts == needed[place]), len(packets) - 1)
    latest = [packets[told].dts - (told - place) for place in range(told)]
    evened = [replace(one, dts=min(dts, end)) for one, dts, end in zip(packets, needed, latest, strict=False)]
    return [*evened, *packets[told:]]


def open_pictures(draft: Draft, fps: float, wh: tuple[int, int]) -> Pictures:
    """A clip of pictures of width and height `wh`, by the best library there is.

    `fps` is their usual rate; OpenCV rounds times to it. Raises EvidenceError or MissingLibraryError.
    """
    try:
        return AvPictures(draft.stream, fps, wh)
    except MissingLibraryError:
        return OpenCvPictures(str(draft.path), fps, wh)


@contextmanager
def _translated(av: Any) -> Iterator[None]:
    """What FFmpeg says, or the disk under it, as an EvidenceError."""
    try:
        yield
    except av.FFmpegError as error:
        raise EvidenceError(f"the clip cannot be written: {error.strerror or error}") from None
    except OSError as error:
        raise EvidenceError(f"the clip cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # of what MP4 cannot hold
        raise EvidenceError(f"the clip cannot be written: {error}") from None
