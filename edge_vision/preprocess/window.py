"""Keeps the last frames of a camera as the input of a network that looks at clips, such as action recognition."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.protocols import Preprocessor
from edge_vision.core.tensor import ModelInput
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions

_EARLY: Final = 0.1
"""By what part of a period a frame may come before it is due: cameras are not exact."""
_LONGEST_GAP_NS: Final = 10_000_000_000
"""After such a pause the frames before it say nothing about now, whatever the rate."""


class Window:
    """A buffer of `frames` pictures, allocated once, oldest first; the next call moves them. One thread uses it.

    Which frames go in is decided by media time, `fps` of them per second, and not by counting every n-th: networks
    learn movements at a certain speed, and cameras, recordings and frames that were dropped would change it. Without
    `fps` every frame goes in. A media clock that jumps back, a long pause, or pictures of another size begin a new
    window: what is in the old one happened elsewhere.
    """

    def __init__(self, options: InputOptions, input_name: str) -> None:
        self._frames = options.frames or 1
        self._fps = options.fps
        self._preprocess = LetterboxPreprocessor(options.picture, input_name)
        self._input_name = input_name
        self._buffer = np.empty(options.shape, np.dtype(options.dtype))
        planar = options.layout == "ncthw"
        self._slots = [self._buffer[0, :, one] if planar else self._buffer[0, one] for one in range(self._frames)]
        gap_ns = 0 if self._fps is None else int(self._frames / self._fps * 1e9)
        self._gap_ns = max(_LONGEST_GAP_NS, gap_ns)
        self._wh = (0, 0)
        self._count = 0
        self._begun_ns = self._seen_ns = self._period = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many frames as the network looks at."""
        return self._count >= self._frames

    def __call__(self, image: NDArray[np.uint8]) -> ModelInput:
        """A still clip: every frame is this picture. It is what a picture without a time can show."""
        made = self._preprocess(image)
        for slot in self._slots:
            np.copyto(slot, made.tensors[self._input_name][0])
        self._count = 0
        return ModelInput({self._input_name: self._buffer}, made.letterbox)

    def take(self, image: NDArray[np.uint8], media_ns: int) -> ModelInput | None:
        """The clip that ends with this frame; None while there are too few, and for a frame that is not due."""
        if not self._is_due(image, media_ns):
            return None
        if self.is_full:
            for slot, later in zip(self._slots, self._slots[1:], strict=False):
                np.copyto(slot, later)
        else:
            self._count += 1
        made = self._preprocess(image)
        np.copyto(self._slots[self._count - 1], made.tensors[self._input_name][0])
        return ModelInput({self._input_name: self._buffer}, made.letterbox) if self.is_full else None

    def _is_due(self, image: NDArray[Any], media_ns: int) -> bool:
        """Whether a frame goes into the window; where it cannot follow the last one, a new window begins."""
        wh, passed_ns = (image.shape[1], image.shape[0]), media_ns - self._seen_ns
        self._seen_ns = media_ns
        if self._count == 0 or wh != self._wh or not 0 <= passed_ns <= self._gap_ns:
            self._wh, self._count, self._begun_ns, self._period = wh, 0, media_ns, 0
            return True
        if self._fps is None:
            return True
        period = int((media_ns - self._begun_ns) * self._fps / 1e9 + _EARLY)
        due = period > self._period
        self._period = period
        return due


def preprocessor_of(options: InputOptions, input_name: str) -> Preprocessor:
    """What makes the input of a network from a picture; for one that looks at clips a still clip."""
    return (LetterboxPreprocessor if options.frames is None else Window)(options, input_name)
