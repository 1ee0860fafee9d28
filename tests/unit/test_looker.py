"""A network as one call: several pictures go in batches, each with its own geometry and answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.app.network import Looker
from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.scene import ServedModel
from edge_vision.core.tensor import ModelInput, Tensors
from edge_vision.inference.slots import Slots
from edge_vision.testing.fakes import FakeClock


class _Preprocess:
    """Lays the mean of a picture into one buffer that the next call overwrites, as the real one does."""

    def __init__(self) -> None:
        self._buffer = np.empty((1, 1), np.float32)

    def __call__(self, image: NDArray[np.uint8]) -> ModelInput:
        self._buffer[:] = image.mean()
        return ModelInput({"in": self._buffer}, Letterbox.fit((image.shape[1], image.shape[0]), (8, 8), "stretch"))


class _Session:
    """Gives two rows per picture, its input and twice that, in a buffer of its own; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.inputs: set[int] = set()

    def infer(self, tensors: Tensors) -> Tensors:
        """Rows of each picture, side by side."""
        (value,) = tensors.values()
        self.batches.append(len(value))
        self.inputs.add(value.ctypes.data)
        return {"out": np.concatenate([np.concatenate([row, row * 2]) for row in value])[:, None]}


class _CountingSlots(Slots):
    """Counts the turns on the device."""

    turns = 0

    @contextmanager
    def turn(self, timeout_s: float, priority: int = 0) -> Iterator[None]:
        """One more."""
        self.turns += 1
        with super().turn(timeout_s, priority):
            yield


def _decode(tensors: Tensors, letterbox: Letterbox) -> Detections:
    """The two rows as confidences, in the box of the source."""
    (rows,) = tensors.values()
    assert rows.shape == (2, 1)
    box = np.array([[0, 0, *letterbox.source_wh]] * 2, np.float32)
    return Detections(box, rows[:, 0].astype(np.float32), np.zeros(2, np.int32))


@pytest.mark.parametrize(
    "batch, batches", [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (8, [5])], ids=["one", "two", "four", "eight"]
)
def test_several_pictures_are_answered_in_their_order(batch: int, batches: list[int]) -> None:
    """As many at once as the model was loaded for, one turn on the device for each batch, in one buffer."""
    session, slots = _Session(), _CountingSlots("CPU", 1)
    model = ServedModel("m", "b", "d", "f32", ("x",))
    looker = Looker(_Preprocess(), session, _decode, model, slots, 1.0, 0, FakeClock(), batch)
    images = [np.full((10 + number, 20 + number, 3), number, np.uint8) for number in range(5)]
    for _ in range(2):
        session.batches.clear()
        found = looker(images)
        assert session.batches == batches
        for number, seen in enumerate(found):
            assert seen.confidence.tolist() == [number, 2 * number]
            assert seen.xyxy[0].tolist() == [0, 0, 20 + number, 10 + number]
    assert slots.turns == 2 * len(batches)
    assert len(session.inputs) <= 2
    assert looker([]) == []
