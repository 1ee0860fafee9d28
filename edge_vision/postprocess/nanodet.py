"""Decodes NanoDet, whose boxes are distances to four sides, each a distribution (GFL, Li et al., arXiv:2006.04388)."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import OutputFormat, Thresholds
from edge_vision.postprocess.nms import finish
from edge_vision.postprocess.outputs import pick_rows
from edge_vision.postprocess.scores_boxes import best_class


class NanodetOutput(OutputFormat):
    """A NanoDet head: per stride scores [1, cells, classes] and distances [1, cells, 4 * bins] (arXiv:2006.04388).

    NanoDet-Plus has four strides, all in one output [1, cells, classes + 4 * bins], and `begin: corner`.
    """

    format: Literal["nanodet"]
    strides: tuple[Annotated[Integer, Field(ge=1)], ...] = Field(
        (8, 16, 32), min_length=1, description="Input pixels per cell of each head, in the order of the rows."
    )
    bins: Integer = Field(8, ge=2, le=64, description="Values per distance: what the configuration calls reg_max, + 1.")
    begin: Literal["pixel", "middle", "corner"] = Field(
        "pixel",
        description="Where in a cell of s pixels the distances begin: at (s - 1) / 2, as the first NanoDet (2020) has "
        "it, in the middle, or at its top left corner, as NanoDet-Plus has it.",
    )
    scores: tuple[str, ...] | None = Field(
        None, description="Names of the outputs with the scores, one per stride; found by their shapes if not given."
    )
    distances: tuple[str, ...] | None = Field(None, description="The same of the outputs with the distances.")

    @model_validator(mode="after")
    def _a_name_per_stride(self) -> "NanodetOutput":
        if (self.scores is None) != (self.distances is None):
            msg = "scores and distances are named together, or both are found by their shapes"
            raise ValueError(msg)
        for key in ("scores", "distances"):
            names = getattr(self, key)
            if names is not None and len(names) != len(self.strides):
                msg = f"{key} has {len(names)} names, strides has {len(self.strides)}: they belong together"
                raise ValueError(msg)
        return self


class Nanodet:
    """Scores are probabilities; a distance is the sum over its bins of softmax * bin number * stride.

    Distances go left, up, right and down from (column * stride + shift, row * stride + shift), where `begin` tells the
    shift. Cells go row by row; a side that a stride does not divide is rounded up.
    """

    def __init__(
        self, options: NanodetOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        self._options = options
        self._thresholds = thresholds
        self._classes = len(labels)
        self._begins = [_begins(model_wh, stride, options.begin) for stride in options.strides]
        self._rows = [len(begins) for begins in self._begins]
        self._why = f"strides {list(options.strides)}, {len(labels)} labels, {options.bins} bins"

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Detections with one class per cell, the best."""
        found = []
        for scores, distances, begins, stride in self._heads(tensors):
            seen, score, class_id = best_class(scores, self._thresholds.confidence)
            reach = _expected(distances[seen].astype(np.float32), self._options.bins) * np.float32(stride)
            begin = begins[seen]
            found.append((np.concatenate([begin - reach[:, :2], begin + reach[:, 2:]], axis=1), score, class_id))
        boxes, score, class_id = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return finish(boxes, score, class_id, letterbox, self._thresholds)

    def _heads(self, tensors: Tensors) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[np.float32], int]]:
        """Of each stride the scores, the distances, where these begin, and the stride itself."""
        options, sides = self._options, 4 * self._options.bins
        if options.scores is None and len(tensors) == 1:
            (name,) = tensors
            whole = pick_rows("nanodet", tensors, name, (sum(self._rows), self._classes + sides), self._why)
            parts = np.split(whole, np.cumsum(self._rows)[:-1])
            pairs = [(part[:, : self._classes], part[:, self._classes :]) for part in parts]
        else:
            names = zip(
                options.scores or self._found(tensors, self._classes),
                options.distances or self._found(tensors, sides),
                self._rows,
                strict=True,
            )
            pairs = [
                (
                    pick_rows("nanodet", tensors, score, (rows, self._classes), self._why),
                    pick_rows("nanodet", tensors, distance, (rows, sides), self._why),
                )
                for score, distance, rows in names
            ]
        for (scores, distances), begins, stride in zip(pairs, self._begins, options.strides, strict=True):
            yield scores, distances, begins, stride

    def _found(self, tensors: Tensors, columns: int) -> Sequence[str]:
        """The output of each stride with so many columns. Raises ModelError where there is not exactly one."""
        names = []
        for rows in self._rows:
            fitting = [name for name, value in tensors.items() if value.shape[-2:] == (rows, columns)]
            if len(fitting) != 1:
                there = ", ".join(f"{key} {list(value.shape)}" for key, value in tensors.items())
                several = f"has {' and '.join(fitting)}: name them with scores and distances" if fitting else "has none"
                msg = (
                    f"format nanodet expects an output of [1, {rows}, {columns}] ({self._why}), the model {several}; "
                    f"there are: {there}"
                )
                raise ModelError(msg)
            names += fitting
        return names


def _begins(model_wh: tuple[int, int], stride: int, begin: str) -> NDArray[np.float32]:
    columns, rows = (-(-side // stride) for side in model_wh)
    y, x = np.divmod(np.arange(columns * rows), columns)
    shift = {"pixel": (stride - 1) / 2, "middle": stride / 2, "corner": 0.0}[begin]
    return (np.stack([x, y], axis=1) * stride + shift).astype(np.float32)


def _expected(distances: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """(n, 4): the mean of each distribution (n, 4 * bins), in bins."""
    logits = distances.reshape(-1, 4, bins)
    with np.errstate(invalid="ignore"):  # infinity less infinity: no distance, which is dealt with in finish()
        powers = np.exp(logits - logits.max(axis=2, keepdims=True))
        return np.asarray(powers @ np.arange(bins, dtype=np.float32) / powers.sum(axis=2))
