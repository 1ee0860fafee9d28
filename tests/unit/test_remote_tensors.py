"""Tensors as servers send them: what does not fit its own shape and type is refused, by name."""

from typing import Any

import numpy as np
import pytest

from edge_vision.core.errors import InferenceError
from edge_vision.inference.remote.tensors import from_bytes, from_numbers


@pytest.mark.parametrize("datatype, dtype", [("FP32", np.float32), ("INT64", np.int64), ("UINT8", np.uint8)])
def test_bytes_and_numbers_are_the_same_tensor(datatype: str, dtype: type[np.number[Any]]) -> None:
    """Little-endian bytes, numbers in a row, numbers in rows."""
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    for made in (
        from_bytes("out", datatype, [2, 3], array.tobytes()),
        from_numbers("out", datatype, [2, 3], array.ravel().tolist()),
        from_numbers("out", datatype, [2, 3], array.tolist()),
    ):
        assert made.dtype == array.dtype
        assert np.array_equal(made, array)


@pytest.mark.parametrize(
    "datatype, shape, words",
    [
        ("BYTES", [6], r"out \[6\] BYTES is no tensor that can be read"),
        ("FP32", [-2, -3], r"out \[-2, -3\] FP32 is no tensor"),
        ("FP32", [7], r"out \[7\] (FP32 needs 28 bytes, 24 came|needs 7 numbers, 6 came)"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(datatype: str, shape: list[int], words: str) -> None:
    """By bytes as by numbers."""
    values = np.zeros(6, np.float32)
    with pytest.raises(InferenceError, match=words):
        from_bytes("out", datatype, shape, values.tobytes())
    with pytest.raises(InferenceError, match=words):
        from_numbers("out", datatype, shape, values.tolist())


@pytest.mark.parametrize("numbers", [["a"] * 6, [[0.0], [0.0, 0.0]], [{}] * 6])
def test_what_are_no_numbers_is_refused(numbers: list[Any]) -> None:
    """Words, rows of different lengths, objects."""
    with pytest.raises(InferenceError, match="out: holds something else than FP32"):
        from_numbers("out", "FP32", [6], numbers)
