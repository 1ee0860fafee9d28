"""Finds the tensor a format reads, and checks its shape before anyone trusts its numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.tensor import Tensors


def pick(tensors: Tensors, name: str | None) -> NDArray[Any]:
    """The output called `name`, or the only one. Raises ModelError that lists what there is."""
    if name is not None and name in tensors:
        return tensors[name]
    if name is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    there = ", ".join(f"{key} {list(value.shape)}" for key, value in tensors.items())
    wanted = f"the model has no output {name!r}" if name else "the model has several outputs: name one with output:"
    msg = f"{wanted}; there are: {there}"
    raise ModelError(msg)


def check_shape(format_name: str, actual: NDArray[Any], expected: tuple[int | None, ...], why: str) -> None:
    """Raise ModelError unless the shape fits; None stands for any size. `why` says what the numbers follow from."""
    fits = actual.ndim == len(expected) and all(
        want is None or have == want for have, want in zip(actual.shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("N" if size is None else str(size) for size in expected)
        msg = f"format {format_name} expects an output of [{wanted}] ({why}), the model gives {list(actual.shape)}"
        raise ModelError(msg)


def pick_rows(format_name: str, tensors: Tensors, name: str, size: tuple[int | None, int], why: str) -> NDArray[Any]:
    """The output called `name` as (rows, columns) of `size`: some networks leave out the axis of the batch."""
    value = pick(tensors, name)
    if value.ndim == 2:  # noqa: PLR2004 - rows and columns
        check_shape(f"{format_name}, {name}:", value, size, why)
        return value
    check_shape(f"{format_name}, {name}:", value, (1, *size), why)
    return np.asarray(value[0])


def whole_picture(letterbox: Letterbox, count: int) -> NDArray[np.float32]:
    """The box of the whole source picture, `count` times: (count, 4)."""
    width, height = letterbox.source_wh
    return np.tile(np.array([0.0, 0.0, width, height], np.float32), (count, 1))
