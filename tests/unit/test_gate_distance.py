"""Checks how far an input tensor is said to be from the golden one."""

import math

import numpy as np
import pytest

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.models.golden import Answer
from edge_vision.models.proof.gate import _distance

GOLDEN = np.zeros((1, 3, 2, 2), np.float32)
LEVEL = np.array([0.5, 1.0, 2.0], np.float32).reshape(1, 3, 1, 1)
ANSWER = Answer(np.zeros((2, 2, 3), np.uint8), {"": GOLDEN}, {"": LEVEL}, {}, Detections.empty())


@pytest.mark.parametrize("channel, levels", [(0, 2.0), (1, 1.0), (2, 0.5)])
def test_a_distance_is_in_gray_levels_of_its_channel(channel: int, levels: float) -> None:
    """The same difference is more where the channel's range is smaller."""
    tensor = GOLDEN.copy()
    tensor[0, channel, 1, 1] = -1.0
    assert _distance(tensor, ANSWER, "") == levels


def test_what_cannot_be_compared_is_infinitely_far() -> None:
    """NaN is above no limit, and must not pass for near; another shape is nowhere near."""
    tensor = GOLDEN.copy()
    tensor[0, 0, 0, 0] = math.nan
    assert _distance(tensor, ANSWER, "") == math.inf
    assert _distance(GOLDEN[:, :1], ANSWER, "") == math.inf


def test_golden_data_without_the_file_s_tensor_say_what_to_do() -> None:
    """A file that was given an input of its own after they were made."""
    with pytest.raises(ModelError, match=r"no input tensor for other\.xml: run `edge-vision models golden` again"):
        _distance(GOLDEN, ANSWER, "other.xml")
