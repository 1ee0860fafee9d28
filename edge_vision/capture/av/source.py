"""Cameras and recordings through PyAV, which says why something fails and hands out the encoded packets, too.

PyAV keeps FFmpeg's own log to itself unless told otherwise, and nobody tells it here: addresses are in there, with the
password. The same goes for its errors (see `errors.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge_vision.capture.av.pixels import Painter
from edge_vision.capture.av.stream import Stream
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.pace import Pace
from edge_vision.core.errors import SourceError
from edge_vision.core.files import why_not_file
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.plugin import require

_WHOLE: Final = 0.95
"""A recording that ends before this share of the length it claims is damaged."""


class _Frames:
    """Numbers pictures and paints them into frames."""

    def __init__(self, stream: Stream, painter: Painter, opening: Opening) -> None:
        self.media_ns = -1
        self._stream = stream
        self._painter = painter
        self._opening = opening
        self._index = opening.first_index

    def next(self) -> tuple[Any, int] | None:
        """The next picture and its media time, which rises; None at the end. Raises SourceError, SourceTimeoutError."""
        found = self._stream.picture()
        lost, self._stream.lost = self._stream.lost, 0
        if lost:
            self._index += lost
            self._opening.on_lost(lost)
        if found is None:
            return None
        picture, media_ns = found
        if media_ns < 0 and self.media_ns >= 0:  # a decoder that lost the picture's time on the way
            media_ns = self.media_ns + self._stream.frame_ns
        self.media_ns = max(media_ns, self.media_ns + 1)
        return picture, self.media_ns

    def frame(self, picture: Any, media_ns: int) -> Frame:
        """The picture as a frame."""
        clock = self._opening.clock
        captured_ns, timestamp = clock.monotonic_ns(), clock.now()
        image = read_only(self._painter.paint(picture))
        index, self._index = self._index, self._index + 1
        return Frame(self._opening.source_id, index, timestamp, captured_ns, media_ns, image)


class AvCamera:
    """A camera: frames come at its pace, and the end of its stream is an error."""

    live = True

    def __init__(self, frames: _Frames, options: AvOptions) -> None:
        self._frames = frames
        self._options = options

    def read(self) -> Frame | None:
        """The next frame; raises SourceTimeoutError when none came in time, SourceError when the stream ended."""
        found = self._frames.next()
        if found is None:
            msg = f"{self._options.shown}: the stream ended"
            raise SourceError(msg)
        return self._frames.frame(*found)


class AvFile:
    """A recording: every frame in order, then the end, or the beginning again."""

    def __init__(self, frames: _Frames, stream: Stream, options: AvOptions, pace: Pace | None) -> None:
        self.live = options.realtime
        self._frames = frames
        self._stream = stream
        self._options = options
        self._pace = pace
        self._lap_ns = 0

    def read(self) -> Frame | None:
        """The next frame or None; raises SourceError when the recording is damaged or holds no picture."""
        found = self._frames.next()
        if found is None:
            self._check_reached_the_end()
            if not self._options.loop:
                return None
            self._lap_ns = self._frames.media_ns + self._stream.frame_ns
            self._stream.open()
            found = self._frames.next()
            if found is None:
                msg = f"{self._options.shown}: cannot be started again from the beginning"
                raise SourceError(msg)
        if self._pace is not None:
            self._pace.wait_for(found[1])
        return self._frames.frame(*found)

    def _check_reached_the_end(self) -> None:
        frame_ns = self._stream.frame_ns
        if self._frames.media_ns < 0:
            msg = f"{self._options.shown}: holds no picture that can be decoded"
            raise SourceError(msg)
        reached_ns, whole_ns = self._frames.media_ns + frame_ns - self._lap_ns, self._stream.length_ns
        if reached_ns < _WHOLE * whole_ns - 2 * frame_ns:
            msg = f"{self._options.shown}: damaged: ends after {reached_ns / 1e9:.1f} of {whole_ns / 1e9:.1f} s"
            raise SourceError(msg)


@contextmanager
def open_av(options: AvOptions, opening: Opening) -> Iterator[AvCamera | AvFile]:
    """Open a camera or a recording. Raises SourceError that says why, SourceTimeoutError, or MissingLibraryError."""
    av: Any = require("av", "av")
    if options.path is not None and (why := why_not_file(options.path)):
        msg = f"{options.path}: {why}"
        raise SourceError(msg)
    stream, painter = Stream(av, options, opening), Painter(av)
    try:
        stream.open()
        frames = _Frames(stream, painter, opening)
        if options.path is None:
            yield AvCamera(frames, options)
        else:
            yield AvFile(frames, stream, options, Pace(opening.clock) if options.realtime else None)
    finally:
        stream.close()
        painter.close()
