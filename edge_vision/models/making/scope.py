"""Which layers of a network are quantized: less and less of them, until what is left does no harm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a graph; `inputs` names the layers it reads, `source` is one that reads the network's input."""

    name: str
    weighted: bool
    depthwise: bool
    source: bool
    result: bool
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What to quantize, in words, and as two decisions.

    `weighted_only`: convolutions and matrix products, and not what lies between them. `inner_only`: of those not the
    first, the last and the depthwise ones, whose values have the widest range for the fewest weights.
    """

    text: str
    weighted_only: bool = False
    inner_only: bool = False

    def spared(self, layers: Sequence[Layer]) -> list[str]:
        """The weighted layers, by name, that stay as they are; `layers` in an order in which data flow."""
        if not self.inner_only:
            return []
        outer = {*_first(layers), *_last(layers)}
        return [layer.name for layer in layers if layer.weighted and (layer.depthwise or layer.name in outer)]


SCOPES: Final = (
    Scope("every layer"),
    Scope("convolutions only", weighted_only=True),
    Scope("convolutions but the first, the last and the depthwise", weighted_only=True, inner_only=True),
)
"""In the order in which they are tried."""


def _first(layers: Sequence[Layer]) -> set[str]:
    """The weighted layers that the input reaches without passing another."""
    return _reached(layers, lambda layer, reached: layer.source or any(name in reached for name in layer.inputs))


def _last(layers: Sequence[Layer]) -> set[str]:
    """The weighted layers from which an output is reached without passing another."""
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer.name)
    backwards = list(reversed(layers))
    return _reached(
        backwards, lambda layer, reached: layer.result or any(name in reached for name in readers.get(layer.name, ()))
    )


def _reached(layers: Sequence[Layer], touches: Callable[[Layer, set[str]], bool]) -> set[str]:
    """The weighted layers at the border of what is reached; what lies behind them is not."""
    reached: set[str] = set()
    border: set[str] = set()
    for layer in layers:
        if touches(layer, reached):
            (border if layer.weighted else reached).add(layer.name)
    return border
