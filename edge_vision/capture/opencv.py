"""Cameras and recordings through `cv2.VideoCapture`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import FileOptions, HttpOptions, RtspOptions, V4l2Options
from edge_vision.capture.pace import Pace
from edge_vision.core.errors import SourceError, SourceTimeoutError
from edge_vision.core.files import why_not_file
from edge_vision.core.frame import Frame, FramePool, read_only
from edge_vision.core.plugin import require

# FFmpeg and OpenCV print addresses with the password inside when they fail; the errors raised here say enough.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# OPENCV_FFMPEG_CAPTURE_OPTIONS stays unset: it holds for every open of the process, and the low-latency flags that
# people put there for cameras make files lose frames (docs/adr/003). Unset, OpenCV takes RTSP over TCP.

_HIGHEST_FPS: Final = 1000.0
_COUNTED: Final = frozenset({".mp4", ".mov", ".m4v", ".avi"})
"""Containers that hold the number of their frames; of others FFmpeg makes a guess from their duration."""


class _Reader:
    """Grabs pictures from an open capture and makes frames of them, in a pool of buffers."""

    def __init__(self, capture: Any, name: str, opening: Opening) -> None:
        self.name = name
        self.clock = opening.clock
        self.capture = capture
        self.index = opening.first_index
        self._source_id = opening.source_id
        self._pool = FramePool()
        self._shape: tuple[int, ...] = (1, 1, 3)

    def frame(self, media_ns: int) -> Frame:
        """The picture grabbed last. Raises SourceError when it cannot be decoded."""
        captured_ns, timestamp = self.clock.monotonic_ns(), self.clock.now()
        ok, image = self.capture.retrieve(self._pool.take(self._shape))
        if not ok or image is None or image.shape[2:] != (3,):
            msg = f"{self.name}: picture {self.index} cannot be decoded"
            raise SourceError(msg)
        self._shape = image.shape  # OpenCV brings an array of its own when the size differs from the buffer's
        index, self.index = self.index, self.index + 1
        return Frame(self._source_id, index, timestamp, captured_ns, media_ns, read_only(image))


class CameraSource:
    """A camera: frames come at its pace, and a failed read is an error."""

    live = True

    def __init__(self, reader: _Reader, position_property: int, read_timeout_s: float, epoch_ns: int) -> None:
        self._reader = reader
        self._position = position_property
        self._read_timeout_s = read_timeout_s
        self._epoch_ns = epoch_ns
        self._zero_ns: int | None = None
        self._media_ns = -1

    def read(self) -> Frame | None:
        """The next frame; raises SourceTimeoutError when none came in time, SourceError when the stream ended."""
        reader = self._reader
        asked_ns = reader.clock.monotonic_ns()
        grabbed = reader.capture.grab()
        waited_s = (reader.clock.monotonic_ns() - asked_ns) / 1e9
        # After a time-out FFmpeg hands out the pictures left in the decoder one by one, each after another time-out:
        # a picture that took the whole limit is as stale as none.
        if waited_s >= self._read_timeout_s:
            msg = f"{reader.name}: no picture for {waited_s:.1f} s (read_timeout_s is {self._read_timeout_s:g})"
            raise SourceTimeoutError(msg)
        if not grabbed:
            msg = f"{reader.name}: the stream ended"
            raise SourceError(msg)
        self._media_ns = self._media_time_ns()
        return reader.frame(self._media_ns)

    def _media_time_ns(self) -> int:
        """The stream's own time, laid onto the unit's; the time of arrival where the stream has none."""
        arrived_ns = self._reader.clock.monotonic_ns() - self._epoch_ns
        position_ms = self._reader.capture.get(self._position)
        if not position_ms > 0:  # also NaN
            return max(arrived_ns, self._media_ns + 1)
        position_ns = int(position_ms * 1e6)
        if self._zero_ns is None:
            self._zero_ns = arrived_ns - position_ns
        return max(self._zero_ns + position_ns, self._media_ns + 1)


class FileSource:
    """A recording: every frame in order, then the end, or the beginning again."""

    def __init__(self, reader: _Reader, options: FileOptions, cv2: Any) -> None:
        self.live = options.realtime
        self._reader = reader
        self._cv2 = cv2
        self._options = options
        self._pace = Pace(reader.clock) if options.realtime else None
        fps = reader.capture.get(cv2.CAP_PROP_FPS)
        self._frame_ns = int(1e9 / fps) if 0 < fps <= _HIGHEST_FPS else 40_000_000  # it says none: take 25
        self._lap_ns = 0
        self._media_ns = -self._frame_ns

    @property
    def length(self) -> tuple[int, float]:
        """How many frames the container claims to hold (0 when it does not say), and its frame rate."""
        count = self._reader.capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        return (int(count) if count > 0 else 0), 1e9 / self._frame_ns

    def read(self) -> Frame | None:
        """The next frame or None; raises SourceError when the recording is damaged or holds no picture."""
        reader = self._reader
        if not reader.capture.grab():
            self._check_reached_the_end()
            if not self._options.loop:
                return None
            self._rewind()
        position_ns = self._lap_ns + int(max(0.0, reader.capture.get(self._cv2.CAP_PROP_POS_MSEC)) * 1e6)
        if position_ns <= self._media_ns:  # containers without times: the frame rate has to do
            position_ns = self._media_ns + self._frame_ns
        self._media_ns = position_ns
        if self._pace is not None:
            self._pace.wait_for(position_ns)
        return reader.frame(position_ns)

    def _check_reached_the_end(self) -> None:
        reader = self._reader
        reached_ns = self._media_ns + self._frame_ns - self._lap_ns
        if reached_ns <= 0:
            msg = f"{reader.name}: holds no picture that can be decoded"
            raise SourceError(msg)
        if self._options.path.suffix.lower() not in _COUNTED:
            return
        whole_ns = reader.capture.get(self._cv2.CAP_PROP_FRAME_COUNT) * self._frame_ns
        if reached_ns < 0.95 * whole_ns - 2 * self._frame_ns:
            msg = f"{reader.name}: damaged: ends after {reached_ns / 1e9:.1f} of {whole_ns / 1e9:.1f} s"
            raise SourceError(msg)

    def _rewind(self) -> None:
        reader, cv2, options = self._reader, self._cv2, self._options
        self._lap_ns = self._media_ns + self._frame_ns
        # Seeking to 0 is not possible in every container; opening again is.
        opened = reader.capture.open(str(options.path), cv2.CAP_FFMPEG, _threads(cv2, options.decoder_threads))
        if not opened or not reader.capture.grab():
            msg = f"{reader.name}: cannot be started again from the beginning"
            raise SourceError(msg)


@contextmanager
def open_network(options: RtspOptions | HttpOptions, opening: Opening) -> Iterator[CameraSource]:
    """Open an RTSP or HTTP camera. Raises SourceError; OpenCV cannot tell a wrong password from a closed port."""
    cv2 = _opencv()
    settings = _timeouts(cv2, options) + _threads(cv2, options.decoder_threads)
    with _open(cv2, options.address(), cv2.CAP_FFMPEG, settings, options.shown_url, opening) as reader:
        yield CameraSource(reader, cv2.CAP_PROP_POS_MSEC, options.read_timeout_s, opening.epoch_ns)


@contextmanager
def open_v4l2(options: V4l2Options, opening: Opening) -> Iterator[CameraSource]:
    """Open a camera of this machine. Raises SourceError."""
    cv2 = _opencv()
    if not options.device.exists():
        msg = f"{options.device}: no such device"
        raise SourceError(msg)
    settings = _timeouts(cv2, options)
    if options.fourcc is not None:
        settings += [cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*options.fourcc)]
    if options.size is not None:
        settings += [cv2.CAP_PROP_FRAME_WIDTH, options.size[0], cv2.CAP_PROP_FRAME_HEIGHT, options.size[1]]
    if options.fps is not None:
        settings += [cv2.CAP_PROP_FPS, round(options.fps)]
    with _open(cv2, str(options.device), cv2.CAP_V4L2, settings, str(options.device), opening) as reader:
        yield CameraSource(reader, cv2.CAP_PROP_POS_MSEC, options.read_timeout_s, opening.epoch_ns)


@contextmanager
def open_file(options: FileOptions, opening: Opening) -> Iterator[FileSource]:
    """Open a recording. Raises SourceError when it is absent or not a video."""
    cv2 = _opencv()
    if why := why_not_file(options.path):
        msg = f"{options.path}: {why}"
        raise SourceError(msg)
    settings = _threads(cv2, options.decoder_threads)
    with _open(cv2, str(options.path), cv2.CAP_FFMPEG, settings, str(options.path), opening) as reader:
        yield FileSource(reader, options, cv2)


@contextmanager
def _open(cv2: Any, address: str, backend: int, settings: list[int], name: str, opening: Opening) -> Iterator[_Reader]:
    """Open a capture and release it at the end; `name` is what errors call it."""
    capture = cv2.VideoCapture()
    started_ns = opening.clock.monotonic_ns()
    try:
        if not capture.open(address, backend, settings):
            tried_s = (opening.clock.monotonic_ns() - started_ns) / 1e9
            msg = f"{name}: cannot be opened (tried for {tried_s:.1f} s)"
            raise SourceError(msg)
        yield _Reader(capture, name, opening)
    except cv2.error as error:
        msg = f"{name}: {_what(error)}"
        raise SourceError(msg) from None  # the original may carry the address
    finally:
        capture.release()


def _what(error: Any) -> str:
    """The sentence inside a cv2.error."""
    return str(getattr(error, "err", "") or "OpenCV failed").strip()


def _timeouts(cv2: Any, options: RtspOptions | HttpOptions | V4l2Options) -> list[int]:
    """Time-outs count only when given at open, with the back end named (opencv#23207)."""
    opening_ms, reading_ms = int(options.open_timeout_s * 1000), int(options.read_timeout_s * 1000)
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, opening_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, reading_ms]


def _threads(cv2: Any, count: int) -> list[int]:
    return [cv2.CAP_PROP_N_THREADS, count]


def _opencv() -> Any:
    cv2 = require("cv2", "cpu")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # see the top of this module
    return cv2
