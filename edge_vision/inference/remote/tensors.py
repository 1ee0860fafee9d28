"""Element types of the protocol, and the checks that keep a damaged answer from passing for one."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.tensor import Tensors, TensorSpec

MOST_BYTES: Final = 256 * 1024 * 1024
"""No answer may be larger: a server that means harm, or none of ours."""

_TYPES: Final = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
_NAMES: Final = {dtype: name for name, dtype in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class About:
    """What a server says of itself and of its model."""

    server: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of one inference, and the model's version when the server names it."""

    tensors: dict[str, NDArray[Any]]
    version: str


class Client(Protocol):
    """One connection to a server, used by one thread. Every call ends within its time-out or raises InferenceError.

    A connection that failed once stays closed: who answers on the next one may be somebody else.
    """

    def connect(self, timeout_s: float) -> None:
        """Open the connection now rather than with the first request."""

    def about(self, timeout_s: float) -> About:
        """Whether server and model are ready, and what the model takes and gives."""

    def infer(self, tensors: Tensors, timeout_s: float) -> Answer:
        """Run the model once."""

    def close(self) -> None:
        """Close the connection; what is under way on it is lost."""


def datatype_of(array: NDArray[Any]) -> str:
    """The protocol's name of an array's element type."""
    return _NAMES[array.dtype.name]


def spec_of(name: str, datatype: str, shape: Iterable[int]) -> TensorSpec:
    """A tensor as the server describes it; a type of the protocol that NumPy has not keeps its name."""
    return TensorSpec(name, tuple(shape), _TYPES.get(datatype, datatype))


def from_bytes(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> NDArray[Any]:
    """An array of raw little-endian elements. Raises InferenceError when they are not what shape and type say."""
    dtype = _dtype(name, datatype, shape)
    size = math.prod(shape) * dtype.itemsize
    if len(raw) != size:
        msg = f"output {name} {list(shape)} {datatype} needs {size} bytes, {len(raw)} came"
        raise InferenceError(msg)
    return np.frombuffer(raw, dtype).reshape(shape)


def from_numbers(name: str, datatype: str, shape: Sequence[int], numbers: Sequence[Any]) -> NDArray[Any]:
    """An array of numbers, nested or flat. Raises InferenceError when they are not what shape and type say."""
    dtype = _dtype(name, datatype, shape)
    try:
        array = np.asarray(numbers, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"output {name}: holds something else than {datatype}"
        raise InferenceError(msg) from error
    if array.size != math.prod(shape):
        msg = f"output {name} {list(shape)} needs {math.prod(shape)} numbers, {array.size} came"
        raise InferenceError(msg)
    return array.reshape(shape)


def _dtype(name: str, datatype: str, shape: Sequence[int]) -> np.dtype[Any]:
    if datatype not in _TYPES or any(size < 0 for size in shape):
        msg = f"output {name} {list(shape)} {datatype} is no tensor that can be read"
        raise InferenceError(msg)
    return np.dtype(_TYPES[datatype])
