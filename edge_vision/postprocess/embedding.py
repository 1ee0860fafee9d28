"""Decodes an embedding: a vector that lies near those of pictures of the same thing."""

from typing import Literal

import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.outputs import pick, whole_picture


class EmbeddingOutput(SingleOutput):
    """A vector that describes the whole picture: [1, N], axes of 1 before or behind."""

    format: Literal["embedding"]

    @property
    def gives(self) -> frozenset[Fact]:
        """A vector, and no class."""
        return frozenset({"embedding"})


class Embedding:
    """[1, N]: a vector; it comes out with unit length, so that the dot product of two is the cosine between them."""

    def __init__(
        self, options: EmbeddingOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del thresholds, labels, model_wh  # a vector has no score, no class and no place
        self._options = options

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """One row, its box the whole picture and its confidence 1; none when the vector has no direction."""
        raw = pick(tensors, self._options.output)
        if raw.size < 2 or max(raw.shape) != raw.size:  # noqa: PLR2004 - two numbers make a direction
            msg = f"format embedding expects an output of [1, N] (a vector), the model gives {list(raw.shape)}"
            raise ModelError(msg)
        vector = raw.reshape(-1).astype(np.float64)  # squares must not overflow
        length = float(np.sqrt(vector @ vector))
        if not np.isfinite(length) or length == 0.0:
            return Detections.empty()
        return Detections(
            whole_picture(letterbox, 1),
            np.ones(1, np.float32),
            np.zeros(1, np.int32),
            embedding=(vector / length).astype(np.float32)[None],
        )
