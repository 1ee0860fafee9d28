"""Stands where the runtime of this machine would: none can serve the model, only servers can."""

from collections.abc import Iterator
from contextlib import contextmanager

from edge_vision.core.errors import InferenceError
from edge_vision.core.model import ModelFile
from edge_vision.core.tensor import Tensors, TensorSpec


class AbsentEngine:
    """Answers nothing: every inference fails with the reason."""

    device = "none"

    def __init__(self, file: ModelFile, reason: str) -> None:
        self.inputs = (TensorSpec("input", file.input_shape, file.input_dtype),)
        self._reason = reason

    @contextmanager
    def open_session(self) -> Iterator["AbsentEngine"]:
        """Itself."""
        yield self

    def infer(self, tensors: Tensors) -> Tensors:
        """Raises InferenceError."""
        del tensors
        msg = f"no server answers, and on this machine: {self._reason}"
        raise InferenceError(msg)
