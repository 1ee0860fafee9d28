"""A network that says what a test tells it, scenes with things to be cut out, and stages that show them to it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.core.stages import Fact
from edge_vision.testing.fakes import make_frame

LABELS = ("plate", "person")
CLASSES = ("red", "blue")
WH = (200, 100)
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)

Said: TypeAlias = tuple[str, float] | NDArray[np.float32] | None
"""A text or the name of a class with a confidence, an embedding, or nothing."""


class SayingNetwork:
    """Says of each picture what a function says; remembers the pictures, one list per call."""

    def __init__(self, say: Callable[[NDArray[np.uint8]], Said]) -> None:
        self.model = ServedModel("reader", "fake", "CPU", "f32", CLASSES)
        self.calls: list[list[NDArray[np.uint8]]] = []
        self._say = say

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What is said of each."""
        self.calls.append([image.copy() for image in images])
        return [_row(image, self._say(image)) for image in images]

    @property
    def seen(self) -> int:
        """How many pictures it was shown."""
        return sum(map(len, self.calls))


def _row(image: NDArray[np.uint8], said: Said) -> Detections:
    if said is None:
        return Detections.empty()
    whole = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    if isinstance(said, np.ndarray):
        return Detections(whole, np.ones(1, np.float32), np.zeros(1, np.int32), embedding=said[None])
    text, confidence = said
    class_id = CLASSES.index(text) if text in CLASSES else 0
    return Detections(whole, np.array([confidence], np.float32), np.array([class_id], np.int32), text=np.array([text]))


def cascade(say: Callable[[NDArray[np.uint8]], Said] | Said, gives: Fact = "text", **options: Any) -> tuple[Stage, Any]:
    """A cascade and its network, which says the same of everything where it is not told by a function."""
    network = SayingNetwork(say if callable(say) else lambda _: say)
    given = OPTIONS.validate_python({"kind": "cascade", "model": "reader", **options})
    return build_stage(given, StageContext(LABELS, network, frozenset({gives}))), network


def scene(
    boxes: Sequence[Sequence[float]], seconds: float = 0.0, image: NDArray[np.uint8] | None = None, **columns: Any
) -> Scene:
    """A frame of 200x100 with these boxes, the surest first, of class 0, and further columns."""
    count = len(boxes)
    seen = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.8, count).astype(np.float32) if count else np.empty(0, np.float32),
        np.zeros(count, np.int32),
    )
    whole = Detections.of({**seen.columns(), **{name: np.array(value) for name, value in columns.items()}})
    picture = np.zeros((WH[1], WH[0], 3), np.uint8) if image is None else image
    return Scene(make_frame(picture, media_ns=round(seconds * 1e9)), whole, labels=LABELS)
