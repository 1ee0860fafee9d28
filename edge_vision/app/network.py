"""A model as one call: preprocess, inference, postprocess, with a session of the calling thread."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.app.engines import Served
from edge_vision.app.servers import Proven
from edge_vision.core.detections import Detections
from edge_vision.core.protocols import Postprocessor, Preprocessor, Session
from edge_vision.core.scene import ServedModel
from edge_vision.core.stages import ModelStageOptions
from edge_vision.core.tensor import ModelInput
from edge_vision.inference.slots import Slots
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.preprocess.window import Window, preprocessor_of
from edge_vision.runtime.clock import Clock


class Looker:
    """Shows pictures to a network and times the three steps of the last one."""

    def __init__(
        self,
        preprocess: Preprocessor,
        session: Session,
        postprocess: Postprocessor,
        model: ServedModel,
        slots: Slots,
        timeout_s: float,
        priority: int,
        clock: Clock,
        batch: int = 1,
    ) -> None:
        self.model = model
        self.steps_ns = (0, 0, 0, 0)
        self._shown = Detections.empty()
        self._preprocess = preprocess
        self._session = session
        self._postprocess = postprocess
        self._slots = slots
        self._timeout_s = timeout_s
        self._priority = priority
        self._now = clock.monotonic_ns
        self._batch = batch
        self._several = np.empty(0)

    def decode_with(self, postprocess: Postprocessor) -> None:
        """Decode what the network gives otherwise from now on, such as with other thresholds."""
        self._postprocess = postprocess

    def watch(self, image: NDArray[np.uint8], media_ns: int) -> Detections:
        """What is in the next frame of a camera, or in the clip that ends with it.

        Nothing while there are too few frames; between two that are due, what the last clip showed.
        """
        if not isinstance(self._preprocess, Window):
            return self.look(image)
        started = self._now()
        clip = self._preprocess.take(image, media_ns)
        if clip is not None:
            self._shown = self._infer(clip, started)
            return self._shown
        prepared = self._now()
        self.steps_ns = (started, prepared, prepared, prepared)
        return self._shown if self._preprocess.is_full else Detections.empty()

    def look(self, image: NDArray[np.uint8]) -> Detections:
        """What is in a picture; `steps_ns` are then the times before and after each step."""
        started = self._now()
        return self._infer(self._preprocess(image), started)

    def _infer(self, model_input: ModelInput, started: int) -> Detections:
        prepared = self._now()
        with self._slots.turn(self._timeout_s, self._priority):
            tensors = self._session.infer(model_input.tensors)
        inferred = self._now()
        detections = self._postprocess(tensors, model_input.letterbox)
        self.steps_ns = (started, prepared, inferred, self._now())
        return detections

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What is in each picture; as many in one inference as the model was loaded for."""
        if len(images) == 1 or self._batch == 1:
            return [self.look(image) for image in images]
        parts = (images[start : start + self._batch] for start in range(0, len(images), self._batch))
        return [found for part in parts for found in self._look_at(part)]

    def _look_at(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What is in each of a few pictures, in one inference and one turn on the device."""
        count, name = len(images), ""
        letterboxes = []
        for number, image in enumerate(images):
            model_input = self._preprocess(image)
            ((name, value),) = model_input.tensors.items()
            if len(self._several) == 0:
                self._several = np.empty((self._batch, *value.shape[1:]), value.dtype)
            self._several[number] = value[0]
            letterboxes.append(model_input.letterbox)
        with self._slots.turn(self._timeout_s, self._priority):
            tensors = self._session.infer({name: self._several[:count]})
        return [
            self._postprocess({key: _share(value, number, count) for key, value in tensors.items()}, letterbox)
            for number, letterbox in enumerate(letterboxes)
        ]


def _share(value: NDArray[Any], number: int, count: int) -> NDArray[Any]:
    """The part of a batch's output that belongs to one of its pictures."""
    rows = len(value) // count
    return value[number * rows : (number + 1) * rows]


def decoder_of(served: Served | Proven, options: ModelStageOptions) -> Postprocessor:
    """What decodes the outputs of a model, with the thresholds of a stage."""
    bundle = served.bundle
    given = {"confidence": options.confidence, "iou": options.iou}
    thresholds = bundle.thresholds.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    return build_postprocessor(served.ends.output, thresholds, bundle.spec.labels, served.ends.input.size)


@contextmanager
def open_network(served: Served | Proven, options: ModelStageOptions, priority: int, clock: Clock) -> Iterator[Looker]:
    """A network for the calling thread, with the thresholds of a stage. Raises InferenceError."""
    preprocess = preprocessor_of(served.ends.input, served.engine.inputs[0].name)
    postprocess = decoder_of(served, options)
    with served.engine.open_session() as session:
        batch = served.batch if isinstance(served, Served) else 1
        yield Looker(
            preprocess, session, postprocess, served.model, served.slots, options.timeout_s, priority, clock, batch
        )
