"""Tries the axes that a graph leaves open: what a file claims and what runtimes do are two things."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edge_vision.core.errors import BackendError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.trial import Tried, try_out

_BATCHES = (2, 4)
_STEP = 32
"""Most detectors shrink their input by 32."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One runtime with one shape: the reason is empty when it ran and its outputs followed."""

    backend: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} on {self.backend}: {self.reason or 'works'}"


def try_axes(file: ModelFile, claimed: Sequence[int], base: dict[str, Tried]) -> Iterator[Attempt]:
    """Run a file with other batches and sizes than its own, as far as it claims to take them.

    `claimed` is the input's shape with -1 for open axes; `base` what each runtime made of the file's own shape.
    """
    options = LoadOptions("int8" if file.precision == "int8" else "f32")
    for what, shape in _others(file.input_shape, claimed):
        for name, own in base.items():
            try:
                tried = try_out(name, replace(file, input_shape=shape), options)
            except BackendError as error:
                yield Attempt(name, what, f"fails: {error}")
            else:
                yield Attempt(name, what, _ignored(what, own, tried, shape[0]))


def _others(shape: tuple[int, ...], claimed: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    if claimed and claimed[0] < 0:
        for batch in _BATCHES:
            yield f"batch {batch}", (batch, *shape[1:])
    sides = [place for place in range(1, len(claimed)) if claimed[place] < 0 and shape[place] > 3]  # noqa: PLR2004
    for what, change in (("size +32", _STEP), ("size x2", 0)):
        if sides:
            other = list(shape)
            for place in sides:
                other[place] = shape[place] + change if change else 2 * shape[place]
            yield f"{what} {other}", tuple(other)


def _ignored(what: str, own: Tried, tried: Tried, batch: int) -> str:
    """Why a run that went through is worth nothing: outputs that do not follow the batch."""
    if not what.startswith("batch"):
        return ""
    stuck = [
        now for now, before in zip(tried.outputs, own.outputs, strict=False)
        if not now.shape or now.shape[0] != batch * (before.shape or (1,))[0]
    ]  # fmt: skip
    return f"runs, but output {stuck[0]} does not follow" if stuck else ""
