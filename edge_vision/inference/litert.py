"""LiteRT, formerly TensorFlow Lite: .tflite files in float, and quantized ones with their own arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_device, check_input, short

_DEVICES: Final = ("CPU",)


class LiteRt:
    """The `litert` backend, on the CPU."""

    formats = ("tflite",)

    def probe(self) -> Availability:
        """Whether the library imports."""
        try:
            require("ai_edge_litert.interpreter", "litert")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        try:
            found = version("ai-edge-litert")
        except PackageNotFoundError:  # built by a distribution, which left no metadata
            found = "unknown"
        return Availability(available=True, reason="works", version=found, devices=_DEVICES)

    def load(self, file: ModelFile, options: LoadOptions) -> "LiteRtEngine":
        """Open an interpreter, to see that the file can be read. Raises BackendUnavailableError."""
        check_device(options.device, _DEVICES)
        if options.precision not in {"f32", file.precision}:
            msg = f"computes in the precision of the file on the CPU; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        interpreter = _open(file, options.threads)
        details = interpreter.get_input_details()
        inputs = tuple(
            TensorSpec(one["name"], tuple(int(size) for size in one["shape_signature"]), _dtype(one, file))
            for one in details
        )
        check_input(inputs, file)
        _fit(interpreter, file)
        return LiteRtEngine(file, options.threads, inputs)


class LiteRtEngine:
    """A file that can be read: an interpreter serves one thread only, so that each session opens its own.

    The weights are mapped from the file: the sessions share them in memory.
    """

    device = "CPU"

    def __init__(self, file: ModelFile, threads: int, inputs: tuple[TensorSpec, ...]) -> None:
        self._file = file
        self._threads = threads
        self.inputs = inputs

    @contextmanager
    def open_session(self) -> Iterator["LiteRtSession"]:
        """An interpreter of the calling thread's own. Raises BackendUnavailableError."""
        interpreter = _open(self._file, self._threads)
        _fit(interpreter, self._file)
        yield LiteRtSession(interpreter, self._file.input_dtype)


@dataclass(frozen=True, slots=True)
class _Quantized:
    """How integers of a tensor stand for numbers: `value = (integer - zero) * scale`."""

    scale: float
    zero: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, detail: Any) -> "_Quantized | None":
        """The rule of a tensor; None for one whose values are what they are."""
        scale, zero = detail["quantization"]
        dtype = np.dtype(detail["dtype"])
        return cls(float(scale), int(zero), dtype) if scale and dtype.kind in "iu" else None

    def quantize(self, values: NDArray[Any]) -> NDArray[Any]:
        """Numbers as the nearest integers, cut to their range."""
        limits = np.iinfo(self.dtype)
        return np.asarray(np.clip(np.rint(values / self.scale) + self.zero, limits.min, limits.max).astype(self.dtype))

    def dequantize(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """Integers as numbers."""
        return np.asarray((integers.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale), np.float32)


class LiteRtSession:
    """One thread's interpreter."""

    def __init__(self, interpreter: Any, input_dtype: str) -> None:
        self._interpreter = interpreter
        (entry,) = interpreter.get_input_details()
        self._input = int(entry["index"])
        self._rule = _Quantized.of(entry) if np.dtype(entry["dtype"]) != np.dtype(input_dtype) else None
        self._outputs = [
            (str(one["name"]), int(one["index"]), _Quantized.of(one)) for one in interpreter.get_output_details()
        ]

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once; what it quantized comes back as float32. Raises InferenceError."""
        (value,) = tensors.values()
        try:
            self._interpreter.set_tensor(self._input, value if self._rule is None else self._rule.quantize(value))
            self._interpreter.invoke()
            found = {name: (self._interpreter.get_tensor(index), rule) for name, index, rule in self._outputs}
        except Exception as error:
            msg = f"litert: {short(error)}"
            raise InferenceError(msg) from error
        return {name: array if rule is None else rule.dequantize(array) for name, (array, rule) in found.items()}


def _open(file: ModelFile, threads: int) -> Any:
    library = require("ai_edge_litert.interpreter", "litert")
    try:
        return library.Interpreter(model_path=str(file.path), num_threads=threads)
    except Exception as error:
        msg = f"cannot read {file.path}: {short(error)}"
        raise BackendUnavailableError(msg) from error


def _fit(interpreter: Any, file: ModelFile) -> None:
    """Give the input the bundle's shape, where the file leaves it open, and reserve the memory."""
    (entry,) = interpreter.get_input_details()
    try:
        if tuple(entry["shape"]) != file.input_shape:
            interpreter.resize_tensor_input(entry["index"], list(file.input_shape))
        interpreter.allocate_tensors()
    except Exception as error:
        msg = f"cannot prepare {file.path}: {short(error)}"
        raise BackendUnavailableError(msg) from error


def _dtype(detail: Any, file: ModelFile) -> str:
    """What a session takes: the input's own type, or float32 for one that it can quantize."""
    own = np.dtype(detail["dtype"]).name
    return "float32" if file.input_dtype == "float32" and _Quantized.of(detail) is not None else own
