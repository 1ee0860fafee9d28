"""Decodes a map of how unusual each place of the picture is, as PatchCore (arXiv:2106.08265) and its kin give it."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer, Number
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.outputs import check_shape, pick
from edge_vision.postprocess.regions import Grid, Layer, Regions


class AnomalyOutput(SingleOutput):
    """A map of scores, [1, H, W] or [1, 1, H, W]: what reaches the threshold is unusual.

    A score becomes (value - threshold) / (highest - lowest) + 0.5, cut to 0..1, as in anomalib: 0.5 is the threshold.
    """

    format: Literal["anomaly"]
    score: str | None = Field(
        None, description="Name of an output with the score of the whole picture; the greatest of the map without."
    )
    threshold: Number = Field(0.5, description="Value of the map from which a place is unusual.")
    lowest: Number = Field(0.0, description="Least value that was seen in training.")
    highest: Number = Field(1.0, description="Greatest value that was seen in training.")
    regions: bool = Field(True, description="Whether each connected region is an object, or all of them together.")
    min_cells: Integer = Field(1, ge=1, description="Smallest object to keep, in pixels of the network's output.")

    @property
    def gives(self) -> frozenset[Fact]:
        """A mask and the box around it; the class is that of the only label."""
        return frozenset({"box", "class", "mask"})

    def misfit(self, labels: int) -> str:
        """One label: what the unusual is called."""
        return "" if labels == 1 else f"needs one label, the name of what is unusual, not {labels}"

    @property
    def uncut(self) -> dict[str, Any]:
        """All of it together: one pixel joins two regions, or makes one of its own."""
        return {"regions": False, "min_cells": 1}

    @model_validator(mode="after")
    def _lowest_below_highest(self) -> "AnomalyOutput":
        if self.lowest >= self.highest:
            msg = f"lowest {self.lowest:g} is not below highest {self.highest:g}"
            raise ValueError(msg)
        return self


class Anomaly:
    """Unusual regions; the confidence of one is its greatest score, the attribute `image_score` that of the picture."""

    def __init__(
        self, options: AnomalyOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del labels, model_wh  # one name for all; the map covers the input, whatever its size
        self._options = options
        self._regions = Regions(thresholds, options.min_cells, "greatest", connected=options.regions)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Box, mask, coverage, area_px and image_score of each region, most unusual first."""
        options = self._options
        others = {name: value for name, value in tensors.items() if name != options.score}
        raw = pick(others, options.output)
        if raw.ndim == 4:  # noqa: PLR2004 - batch, channel, rows and columns
            check_shape("anomaly", raw, (1, 1, None, None), "one score per pixel")
            raw = raw[:, 0]
        check_shape("anomaly", raw, (1, None, None), "one score per pixel")
        if raw.size == 0:
            check_shape("anomaly", raw, (), "no axis may be empty")
        grid = Grid.over((raw.shape[1], raw.shape[2]), letterbox)
        values = raw[0][grid.inside].astype(np.float32)
        unusual = np.isfinite(values) & (values >= np.float32(options.threshold))
        score = self._score(values)
        found = self._regions([Layer(0, unusual, score)], grid)
        if len(found) == 0:
            return found
        whole = float(score[unusual].max()) if options.score is None else self._whole(tensors)
        return found.with_attribute("image_score", np.full(len(found), whole, np.float32))

    def _score(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the map in 0..1."""
        options = self._options
        scaled = (values - np.float32(options.threshold)) / np.float32(options.highest - options.lowest)
        return np.asarray(np.clip(scaled + np.float32(0.5), 0.0, 1.0), np.float32)

    def _whole(self, tensors: Tensors) -> float:
        """The network's own score of the picture."""
        value = pick(tensors, self._options.score)
        if value.size != 1:
            msg = f"format anomaly expects one number as {self._options.score}, the model gives {list(value.shape)}"
            raise ModelError(msg)
        return float(self._score(np.asarray(value.reshape(1), np.float32))[0])
