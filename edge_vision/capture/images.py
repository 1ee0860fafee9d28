"""A folder of pictures as a source."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import ImagesOptions
from edge_vision.core.errors import SourceError
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.plugin import require

_log = logging.getLogger(__name__)

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class ImagesSource:
    """Pictures sorted by name; one that cannot be decoded leaves a gap in the index."""

    live = False

    def __init__(self, files: list[Path], options: ImagesOptions, opening: Opening, cv2: Any) -> None:
        self._files = iter(enumerate(files, opening.first_index))
        self._options = options
        self._empty = True
        self._frame_ns = 1e9 / options.fps
        self._opening = opening
        self._cv2 = cv2

    def read(self) -> Frame | None:
        """The next picture that can be decoded, or None after the last; SourceError when there was not a single one."""
        for index, file in self._files:
            image = self._decode(file)
            if image is None:
                _log.warning("%s: %s cannot be decoded and is left out", self._opening.source_id, file)
                self._opening.on_lost(1)
                continue
            self._empty = False
            clock = self._opening.clock
            media_ns = int(index * self._frame_ns)
            return Frame(self._opening.source_id, index, clock.now(), clock.monotonic_ns(), media_ns, read_only(image))
        if self._empty:
            msg = f"{self._options.path}: no picture in it can be decoded"
            raise SourceError(msg)
        return None

    def _decode(self, file: Path) -> NDArray[np.uint8] | None:
        try:
            image: NDArray[np.uint8] | None = self._cv2.imread(str(file), self._cv2.IMREAD_COLOR)
        except self._cv2.error:  # larger than OpenCV's limit of pixels
            return None
        return image


@contextmanager
def open_images(options: ImagesOptions, opening: Opening) -> Iterator[ImagesSource]:
    """List the folder. Raises SourceError when it cannot be read or holds no picture."""
    cv2 = require("cv2", "cpu")
    try:
        files = sorted(file for file in options.path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    except OSError as error:
        msg = f"{options.path}: {error.strerror}"
        raise SourceError(msg) from error
    if not files:
        msg = f"{options.path}: holds no pictures ({', '.join(sorted(SUFFIXES))})"
        raise SourceError(msg)
    yield ImagesSource(files, options, opening, cv2)
