"""Decodes a classifier's scores: which classes a whole picture shows."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer, Number
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.outputs import pick, whole_picture


class ClassificationOutput(SingleOutput):
    """One score per class of the whole picture: [1, classes], axes of 1 before or behind."""

    format: Literal["classification"]
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="What the network leaves to be done to its scores."
    )
    top_k: Integer = Field(5, ge=1, le=1000, description="At most so many classes, the best.")
    first_class: Integer = Field(0, ge=0, description="Column of the first label; those before it are background.")
    scale: Number = Field(
        1.0, gt=0, description="Factor on the outputs, for a runtime that gives integers: 0.00392157 is 1/255."
    )

    @property
    def gives(self) -> frozenset[Fact]:
        """A class without a box."""
        return frozenset({"class"})

    @property
    def uncut(self) -> dict[str, Any]:
        """Every class above the threshold: the second best of one runtime may be the third of another."""
        return {"top_k": 1000}


class Classification:
    """Scores [1, background + len(labels)]; a row per class, its box the whole picture."""

    def __init__(
        self, options: ClassificationOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # the whole picture counts, however it was laid
        self._options = options
        self._threshold = np.float32(thresholds.confidence)
        self._most = min(options.top_k, thresholds.max_detections)
        self._columns = options.first_class + len(labels)
        self._why = f"{options.first_class} of background + {len(labels)} labels"

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """The best classes that reach the threshold, best first; equal ones in the order of their labels."""
        raw = pick(tensors, self._options.output)
        if raw.size != self._columns or self._columns not in raw.shape:
            msg = (
                f"format classification expects an output of [1, {self._columns}] ({self._why}), "
                f"the model gives {list(raw.shape)}"
            )
            raise ModelError(msg)
        values = raw.reshape(-1).astype(np.float32) * np.float32(self._options.scale)
        scores = activated(values, self._options.activation)[self._options.first_class :]
        scores = np.where(np.isfinite(scores), scores, np.float32(-1.0))  # a score that is none is no class
        best = np.argsort(-scores, kind="stable")[: self._most]
        best = best[scores[best] >= self._threshold]
        confidence = np.clip(scores[best], 0.0, 1.0)
        return Detections(whole_picture(letterbox, len(best)), confidence, best.astype(np.int32))


def activated(
    values: NDArray[np.float32], activation: Literal["none", "softmax", "sigmoid"], axis: int = -1
) -> NDArray[np.float32]:
    """Scores made of what a network gave, of the same shape; softmax runs along `axis`."""
    if activation == "softmax":
        with np.errstate(invalid="ignore"):  # infinity less infinity: a score that is none
            powers: NDArray[Any] = np.exp(values - values.max(axis=axis, keepdims=True))
            return np.asarray(powers / powers.sum(axis=axis, keepdims=True), np.float32)
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # 1 / (1 + infinity) is the 0 that is meant
            return np.asarray(1.0 / (1.0 + np.exp(-values)), np.float32)
    return values
