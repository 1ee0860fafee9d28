"""What goes into a network and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from edge_vision.core.geometry import Letterbox

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by the names the network gives its inputs or outputs."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The name, shape and element type of one input or output; a dimension left open is -1."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)} {self.dtype}"


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """A frame made ready for a network, and the geometry that leads back to the frame."""

    tensors: Tensors
    letterbox: Letterbox
