"""Lays a frame into a network's input: resize, color order, value range, layout."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.geometry import Letterbox
from edge_vision.core.plugin import require
from edge_vision.core.tensor import ModelInput
from edge_vision.preprocess.options import InputOptions


class LetterboxPreprocessor:
    """Fills one buffer, allocated once; the next call overwrites it. One thread uses it.

    The rim of a letterbox is painted when the size of the source changes, not for every frame. A planar float input
    takes resize + split + one pass per channel (benchmarks/stage.py measures it against `blobFromImage`).
    """

    def __init__(self, options: InputOptions, input_name: str) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        self._interpolation = {"linear": self._cv2.INTER_LINEAR, "area": self._cv2.INTER_AREA}[options.interpolation]
        self._input_name = input_name
        factor = options.scale / np.asarray(options.std, np.float64)[: options.channels]
        offset = -np.asarray(options.mean, np.float64) / np.asarray(options.std, np.float64)
        self._factor = tuple(float(value) for value in factor)
        self._offset = tuple(float(value) for value in offset[: options.channels])
        self._buffer = np.empty(options.shape, np.dtype(options.dtype))
        self._fitted: Letterbox | None = None
        self._resized = np.empty((0, 0, 3), np.uint8)
        self._planes: list[NDArray[np.uint8]] = []
        self._targets: list[NDArray[Any]] = []

    def __call__(self, image: NDArray[np.uint8]) -> ModelInput:
        """The network's input for a BGR picture: float32 or uint8, (1, c, h, w) or (1, h, w, c)."""
        letterbox, wh = self._fitted, (image.shape[1], image.shape[0])
        if letterbox is None or letterbox.source_wh != wh:
            letterbox = self._fit(wh)
        self._fill(image, letterbox)
        return ModelInput({self._input_name: self._buffer}, letterbox)

    def _fit(self, source_wh: tuple[int, int]) -> Letterbox:
        """Prepare for frames of another size: new geometry, a freshly painted rim, intermediate buffers."""
        options = self._options
        letterbox = Letterbox.fit(source_wh, options.size, options.resize, options.anchor)
        width, height = letterbox.resized_wh
        rows = slice(letterbox.pad_top, letterbox.pad_top + height)
        columns = slice(letterbox.pad_left, letterbox.pad_left + width)
        if options.layout == "nchw":
            channels = [self._buffer[0, number] for number in range(options.channels)]
        else:
            channels = [self._buffer[0, :, :, number] for number in range(options.channels)]
        for channel, factor, offset in zip(channels, self._factor, self._offset, strict=True):
            channel[:] = options.pad_value * factor + offset
        self._targets = [channel[rows, columns] for channel in channels]
        self._planes = [np.empty((height, width), np.uint8) for _ in channels]
        self._resized = np.empty((height, width, 3), np.uint8)
        if options.layout == "nhwc" and options.dtype == "uint8" and options.color == "bgr":
            self._resized = self._buffer[0, rows, columns]  # resize straight into the input
        self._fitted = letterbox
        return letterbox

    def _fill(self, image: NDArray[np.uint8], letterbox: Letterbox) -> None:
        cv2, options = self._cv2, self._options
        resized = self._resized
        cv2.resize(image, letterbox.resized_wh, dst=resized, interpolation=self._interpolation)
        if resized.base is self._buffer:
            return
        if options.color == "gray":
            cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY, dst=self._planes[0])
        else:
            cv2.split(resized, self._planes)
        planes = reversed(self._planes) if options.color == "rgb" else self._planes
        for plane, target, factor, offset in zip(planes, self._targets, self._factor, self._offset, strict=True):
            if factor == 1.0 and offset == 0.0:
                np.copyto(target, plane)
            elif options.layout == "nchw":
                cv2.addWeighted(plane, factor, plane, 0.0, offset, dst=target, dtype=cv2.CV_32F)
            else:  # channels side by side: OpenCV cannot write every third element
                np.multiply(plane, np.float32(factor), out=target)
                np.add(target, np.float32(offset), out=target)
