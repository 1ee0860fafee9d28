"""A rendered conveyor line as a source: any size and rate, with known truth and no camera."""

from collections.abc import Iterator
from contextlib import contextmanager

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SyntheticOptions
from edge_vision.capture.pace import Pace
from edge_vision.core.frame import Frame, FramePool, read_only
from edge_vision.core.plugin import require


class SyntheticSource:
    """Draws one frame after the other; frame `index` of a given size, rate and seed is always the same picture."""

    def __init__(self, options: SyntheticOptions, opening: Opening) -> None:
        from edge_vision.capture.conveyor import Conveyor

        self.live = options.realtime
        self.line = Conveyor(options.size, options.fps, options.seed)
        self._options = options
        self._opening = opening
        self._index = opening.first_index
        self._pool = FramePool()
        self._pace = Pace(opening.clock) if options.realtime else None

    def read(self) -> Frame | None:
        """The next frame, or None after the last one asked for."""
        index, options, clock = self._index, self._options, self._opening.clock
        if options.frames is not None and index >= options.frames:
            return None
        self._index += 1
        media_ns = int(index * 1e9 / options.fps)
        width, height = options.size
        image = self._pool.take((height, width, 3))
        self.line.draw(index, image)
        if self._pace is not None:
            self._pace.wait_for(media_ns)
        return Frame(self._opening.source_id, index, clock.now(), clock.monotonic_ns(), media_ns, read_only(image))


@contextmanager
def open_synthetic(options: SyntheticOptions, opening: Opening) -> Iterator[SyntheticSource]:
    """Set up the line. Raises MissingLibraryError without OpenCV, which draws it."""
    require("cv2", "cpu")
    yield SyntheticSource(options, opening)
