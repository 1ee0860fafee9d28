"""What a runtime makes of a blank picture decides whether it may serve."""

from pathlib import Path

import numpy as np
import pytest

from edge_vision.core.errors import ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.select import first_answer
from edge_vision.testing.fakes import FakeEngine

FILE = ModelFile(Path("m.onnx"), "onnx", (1, 3, 8, 8))


def engine(outputs: Tensors) -> FakeEngine:
    """An engine that always answers the same."""
    return FakeEngine((TensorSpec("images", (1, 3, 8, 8), "float32"),), lambda _: outputs)


def test_outputs_are_kept_beyond_the_session() -> None:
    """They may live in buffers that the next call overwrites."""
    buffer = np.ones((2, 2), np.float32)
    kept = first_answer(engine({"out": buffer}), FILE)["out"]
    buffer[:] = 7
    assert kept.tolist() == [[1, 1], [1, 1]]


def test_one_nan_is_too_many() -> None:
    """OpenVINO and ONNX Runtime carry it from damaged weights to the end."""
    spoiled = np.ones((1, 100), np.float32)
    spoiled[0, 3] = np.nan
    with pytest.raises(ModelError, match=r"m\.onnx: 1% of its output out for a blank picture are not numbers \(NaN\)"):
        first_answer(engine({"whole": np.ones(3), "out": spoiled}), FILE)


def test_integers_and_empty_outputs_are_numbers() -> None:
    """As a detector that sees nothing gives them."""
    found = first_answer(engine({"ids": np.zeros((0,), np.int64), "boxes": np.zeros((0, 4), np.float32)}), FILE)
    assert set(found) == {"ids", "boxes"}


def test_a_network_without_outputs_is_no_network() -> None:
    """It would see nothing for ever."""
    with pytest.raises(ModelError, match=r"m\.onnx: has no output"):
        first_answer(engine({}), FILE)
