"""Decodes a map with a class for every pixel: U-Net (arXiv:1505.04597), DeepLab (arXiv:1706.05587) and their kin."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Fraction, Integer
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.classification import activated
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.outputs import check_shape, pick
from edge_vision.postprocess.regions import Grid, Layer, Regions


class SegmentationOutput(SingleOutput):
    """A class for every pixel: scores [1, classes, H, W] or [1, H, W, classes], or a map of class numbers [1, H, W].

    A column of scores, or a number of the map, belongs to the label at its place; the background has a label, too.
    """

    format: Literal["segmentation"]
    layout: Literal["nchw", "nhwc", "map"] = Field(
        "nchw", description="Order of the axes of scores; map for class numbers, settled by the network."
    )
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="What the network leaves to be done to its scores."
    )
    overlapping: bool = Field(
        False, description="Whether a pixel may belong to several classes, and not only to that which scores most."
    )
    pixel_threshold: Fraction | None = Field(
        None,
        description="Least score of a pixel. Default: 0.5 where nothing else decides (overlapping, sigmoid, one "
        "class), else 0.",
    )
    background: Integer | None = Field(
        None, ge=0, description="Number of the class that is no object, if there is one."
    )
    regions: bool = Field(True, description="Whether each connected region is an object, or all of a class together.")
    min_cells: Integer = Field(1, ge=1, description="Smallest object to keep, in pixels of the network's output.")

    @property
    def gives(self) -> frozenset[Fact]:
        """A mask and the box around it."""
        return frozenset({"box", "class", "mask"})

    def misfit(self, labels: int) -> str:
        """The background is one of the labels, and not the only one."""
        if self.background is None or self.background < labels > 1:
            return ""
        return f"background is class {self.background}, and there are {labels} labels: it has one, too, beside others"

    @property
    def uncut(self) -> dict[str, Any]:
        """All of a class together: one pixel joins two regions, or makes one of its own."""
        return {"regions": False, "min_cells": 1}


class Segmentation:
    """Objects made of the pixels of a class; nothing is made larger than the network's own output.

    Confidence is the mean score over the object's pixels, 1 for a map of class numbers.
    """

    def __init__(
        self, options: SegmentationOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the output covers the input, whatever its size
        self._options = options
        self._classes = len(labels)
        self._dtype = np.dtype(np.uint8 if len(labels) < 255 else np.uint16)  # noqa: PLR2004 - one more number is nothing
        loose = options.overlapping or options.activation == "sigmoid" or len(labels) == 1
        threshold = options.pixel_threshold
        self._pixel_threshold = np.float32((0.5 if loose else 0.0) if threshold is None else threshold)
        self._regions = Regions(thresholds, options.min_cells, "mean", connected=options.regions)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Box, class, mask, coverage and area_px of each object, most certain first."""
        raw = pick(tensors, self._options.output)
        if 0 in raw.shape:
            check_shape("segmentation", raw, (), "no axis may be empty")
        if self._options.layout == "map":
            numbers = self._numbers(raw)
            grid = Grid.over((numbers.shape[0], numbers.shape[1]), letterbox)
            return self._regions(self._settled(numbers[grid.inside]), grid)
        scores = self._scores(raw)
        grid = Grid.over((scores.shape[1], scores.shape[2]), letterbox)
        rows, columns = grid.inside
        inside = np.ascontiguousarray(scores[:, rows, columns], np.float32)
        layers = self._every(inside) if self._options.overlapping else self._best(inside)
        return self._regions(layers, grid)

    def _numbers(self, raw: NDArray[Any]) -> NDArray[Any]:
        """A map (rows, columns) of class numbers; an axis of channels, of 1, may be on either side."""
        if raw.ndim == 4:  # noqa: PLR2004 - batch, channel, rows and columns
            raw = raw[:, 0] if raw.shape[1] == 1 else raw[..., 0] if raw.shape[3] == 1 else raw
        check_shape("segmentation", raw, (1, None, None), "a class number per pixel")
        return np.asarray(raw[0])

    def _scores(self, raw: NDArray[Any]) -> NDArray[Any]:
        """The scores as (classes, rows, columns), a view."""
        why = f"{self._classes} labels, layout {self._options.layout}"
        if self._options.layout == "nhwc":
            check_shape("segmentation", raw, (1, None, None, self._classes), why)
            return np.moveaxis(raw[0], -1, 0)
        check_shape("segmentation", raw, (1, self._classes, None, None), why)
        return np.asarray(raw[0])

    def _settled(self, numbers: NDArray[Any]) -> Iterator[Layer]:
        """The classes of a map of numbers; a number without a label (255 is often "ignore") is nothing."""
        known = (numbers >= 0) & (numbers < self._classes)
        whole = np.where(known, numbers, self._classes).astype(self._dtype)
        yield from self._present(whole, known.astype(np.float32))

    def _best(self, scores: NDArray[np.float32]) -> Iterator[Layer]:
        """The classes where each pixel belongs to that which scores most; the first of equal ones."""
        number = np.zeros(scores.shape[1:], self._dtype)
        best = scores[0].copy()
        for class_id in range(1, len(scores)):  # whole planes: argmax along the first axis takes ten times as long
            np.copyto(number, self._dtype.type(class_id), where=scores[class_id] > best)
            np.maximum(best, scores[class_id], out=best)
        with np.errstate(invalid="ignore", over="ignore"):  # one sum tells of all
            finite = np.isfinite(scores.sum())
        if not finite:
            number[~np.isfinite(scores).all(axis=0)] = self._classes
        if self._options.activation == "softmax":
            with np.errstate(invalid="ignore"):  # infinity less infinity: no number, as was noted above
                best = 1.0 / sum(np.exp(plane - best) for plane in scores)
        else:
            best = activated(best, self._options.activation)
        if self._pixel_threshold > 0.0:
            number[~(best >= self._pixel_threshold)] = self._classes
        yield from self._present(number, best)

    def _every(self, scores: NDArray[np.float32]) -> Iterator[Layer]:
        """The classes where each pixel belongs to all that reach the threshold."""
        scores = activated(scores, self._options.activation, axis=0)
        for class_id, score in enumerate(scores):
            if class_id != self._options.background:
                yield Layer(class_id, np.isfinite(score) & (score >= self._pixel_threshold), score)

    def _present(self, number: NDArray[np.unsignedinteger[Any]], score: NDArray[np.float32]) -> Iterator[Layer]:
        """A layer for each class; `number` is the count of labels where there is none."""
        for class_id in range(self._classes):
            if class_id != self._options.background:
                yield Layer(class_id, number == class_id, score)
