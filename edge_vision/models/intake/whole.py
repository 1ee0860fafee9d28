"""Proposes output formats for networks that give no boxes: classes, a line of text, a map, a vector."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.tensor import Tensors

_LEAST_CHARACTERS: Final = 10
"""Alphabets have the ten digits at least: fewer columns are rather those of a detector."""
_COARSEST: Final = 8
"""A map has at least an eighth of the input's sides; fewer cells are those of a detector."""
_NEAR_ONE: Final = 0.05
"""How far the sum of probabilities may be from 1: quantized ones are rounded."""


@dataclass(frozen=True, slots=True)
class Guess:
    """An output format that fits the outputs, its options, how many classes it would have, and what speaks for it.

    One that is not `sure` is taken only where it is asked for: another format has the same shapes.
    """

    options: dict[str, Any]
    classes: int | None
    why: str
    sure: bool = True

    @property
    def format(self) -> str:
        """Name of the format."""
        return str(self.options["format"])


def without_boxes(outputs: Tensors, size: tuple[int, int], labels: int | None) -> Iterator[Guess]:
    """What the only output may be where it holds no boxes."""
    if len(outputs) != 1:
        return
    (value,) = outputs.values()
    if value.size > 1 and value.size == max(value.shape):
        yield from _vector(value, labels)
    elif value.ndim == 3 and len(value) == 1:  # noqa: PLR2004 - picture, step, class; or picture, row, column
        yield from _lines(value, labels)
        yield from _flat_map(value, value[0], size, labels)
    elif value.ndim == 4 and len(value) == 1:  # noqa: PLR2004 - with an axis of channels
        yield from _maps(value, size, labels)


def _vector(value: NDArray[Any], labels: int | None) -> Iterator[Guess]:
    """Scores of classes, or a description."""
    flat = value.reshape(-1).astype(np.float64)
    count, shown = len(flat), f"{list(value.shape)}"
    likely = _probabilities(flat, 0)
    classes = labels if labels is not None and labels in (count, count - 1) else count
    known = bool(flat.min() >= 0.0 and flat.max() <= 1.0)  # of 1001 quantized ones most are rounded to 0
    options: dict[str, Any] = {"format": "classification", "activation": "none" if known else "softmax"}
    options |= {"first_class": 1} if classes < count else {}
    what = "adds up to 1: probabilities of classes" if likely else "is a number per class"
    yield Guess(options, classes, f"{shown} {what}", sure=likely or labels is not None)
    yield Guess({"format": "embedding"}, None, f"{shown} is a vector", sure=False)


def _lines(value: NDArray[Any], labels: int | None) -> Iterator[Guess]:
    """A class per step of a line: characters, the blank, and perhaps a space behind them."""
    if labels is None or labels < _LEAST_CHARACTERS:
        return
    for layout, axis in (("ntc", 2), ("nct", 1)):
        count = value.shape[axis]
        if labels <= count <= labels + 2:
            steps = (value[0] if axis == 2 else value[0].T).astype(np.float64)  # noqa: PLR2004 - the last axis
            # Noise shows no text: what most steps say is that there is none.
            blank = int(np.bincount(steps.argmax(axis=1), minlength=count).argmax())
            activation = "none" if _probabilities(steps, 1) else "softmax"
            options = {"format": "ctc", "layout": layout, "blank": blank, "activation": activation}
            options |= {"space": True} if count == labels + 2 else {}
            yield Guess(options, labels, f"{list(value.shape)}: {count} classes at each step, {blank} at most of them")


def _maps(value: NDArray[Any], size: tuple[int, int], labels: int | None) -> Iterator[Guess]:
    """A class for every pixel, as scores or settled, or one score for every pixel."""
    for layout, axis in (("nchw", 1), ("nhwc", 3)):
        count = value.shape[axis]
        scores = np.moveaxis(value[0], axis - 1, 0)
        if not _covers(scores.shape[1:], size):
            continue
        if count == 1:
            yield from _flat_map(value, scores[0], size, labels)
            return
        likely = _probabilities(scores.astype(np.float64), 0)
        options = {"format": "segmentation", "layout": layout, "activation": "none" if likely else "softmax"}
        yield Guess(options, count, f"{list(value.shape)} has a score of each class for every pixel")


def _flat_map(value: NDArray[Any], plane: NDArray[Any], size: tuple[int, int], labels: int | None) -> Iterator[Guess]:
    """One number for every pixel: that of a class where all are whole, else how much it is text, a class or unusual."""
    if not _covers(plane.shape, size):
        return
    shown = f"{list(value.shape)}"
    if value.dtype.kind in "iu" or bool((plane == np.floor(plane)).all() and plane.max() > 1):
        seen = int(plane.max()) + 1
        classes = labels if labels is not None and labels >= seen else seen
        options = {"format": "segmentation", "layout": "map"}
        yield Guess(options, classes, f"{shown} has the number of a class for every pixel", sure=labels is not None)
        return
    likely = bool(plane.min() >= 0.0 and plane.max() <= 1.0)
    activation = {"activation": "none" if likely else "sigmoid"}
    if value.ndim == 4:  # noqa: PLR2004 - with an axis of channels
        layout = "nchw" if value.shape[1] == 1 else "nhwc"
        why = f"{shown} has a score for every pixel"
        yield Guess({"format": "dbnet", **activation}, 1, why, sure=False)
        yield Guess({"format": "segmentation", "layout": layout, **activation}, 1, why, sure=False)
    yield Guess({"format": "anomaly"}, 1, f"{shown} has a score for every pixel", sure=False)


def _covers(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a map (rows, columns) has the input's aspect ratio, and cells enough to be one."""
    rows, columns = shape
    return rows * size[0] == columns * size[1] and rows * _COARSEST >= size[1]


def _probabilities(values: NDArray[np.float64], axis: int) -> bool:
    """Whether these are in 0..1 and add up to 1."""
    return bool(values.min() >= 0.0 and (abs(values.sum(axis=axis) - 1.0) <= _NEAR_ONE).all())
