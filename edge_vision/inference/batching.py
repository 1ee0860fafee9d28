"""Gathers the frames of several cameras into one inference, where the model has a batch axis and the device gains."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.protocols import Engine, Session
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.slots import Slots

_RECENT_S: Final = 1.0
"""Who sent nothing for so long is not waited for."""
_ROUNDS: Final = 5
_LEAST_GAIN: Final = 0.9
"""A batch must cost less than this part of what its frames cost one by one."""
_CLOSE: Final = 1e-3
"""How far an answer in a batch may be from the one alone, as part of the greatest value."""


@dataclass(eq=False)
class _Request:
    """One frame's input on its way, and its answer on the way back."""

    value: NDArray[Any]
    leads: bool = False
    answer: Tensors | None = None
    error: str = ""
    asker: object = None

    @property
    def answered(self) -> bool:
        return self.answer is not None or bool(self.error)


@dataclass(eq=False)
class _Table:
    """Where requests meet. The first to come leads: it waits for others, takes them along, and answers them."""

    most: int
    window_s: float
    led: bool = False
    seen_s: dict[object, float] = field(default_factory=dict)
    waiting: list[_Request] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def _full(self) -> bool:
        """Whether nobody is left to wait for: cameras that sent nothing for a while are lost, or over."""
        recent_s = time.monotonic() - _RECENT_S
        return len(self.waiting) >= min(self.most, sum(seen_s > recent_s for seen_s in self.seen_s.values()))

    def sit(self, request: _Request, timeout_s: float) -> tuple[_Request, ...]:
        """Wait to be answered, and get nothing; or to lead, and get the requests to answer, one's own among them.

        Raises InferenceError when neither happened in time.
        """
        with self.changed:
            self.waiting.append(request)
            self.seen_s[request.asker] = time.monotonic()
            if self.led:
                self.changed.notify_all()
                if not self.changed.wait_for(lambda: request.leads or request.answered, timeout_s):
                    if request in self.waiting:
                        self.waiting.remove(request)
                    msg = f"not answered within a batch in {timeout_s:g} s"
                    raise InferenceError(msg)
                if request.answered:
                    return ()
            self.led = True
            self.changed.wait_for(lambda: self._full, self.window_s)
            # Who leads goes with the batch, whoever else came first.
            others = [one for one in self.waiting if one is not request]
            batch, self.waiting = (request, *others[: self.most - 1]), others[self.most - 1 :]
            self.led = bool(self.waiting)
            if self.waiting:
                self.waiting[0].leads = True
                self.changed.notify_all()
            return batch

    def rise(self) -> None:
        """Tell everyone that there are answers."""
        with self.changed:
            self.changed.notify_all()


class BatchingEngine:
    """An engine that runs up to `most` frames at once, none later than `window_s` after the first of them came.

    Sessions are used by one thread each, which waits for its own answer: order and identity of a camera's frames
    cannot be lost. A batch holds one slot of the device; a session alone waits for nobody.
    """

    def __init__(self, engine: Engine, slots: Slots, most: int, window_s: float, timeout_s: float) -> None:
        self.inputs = engine.inputs
        self.device = engine.device
        self._engine = engine
        self._slots = slots
        self._timeout_s = timeout_s
        self._table = _Table(most, window_s)

    @contextmanager
    def open_session(self) -> Iterator["BatchingSession"]:
        """A handle for the calling thread, which leads when it comes first."""
        with self._engine.open_session() as session:
            asker = BatchingSession(session, self._table, self._slots, self._timeout_s)
            with self._table.changed:
                self._table.seen_s[asker] = time.monotonic()
            try:
                yield asker
            finally:
                with self._table.changed:
                    self._table.seen_s.pop(asker, None)
                    self._table.changed.notify_all()


class BatchingSession:
    """One thread's handle."""

    def __init__(self, session: Session, table: _Table, slots: Slots, timeout_s: float) -> None:
        self._session = session
        self._table = table
        self._slots = slots
        self._timeout_s = timeout_s
        self._buffers: dict[int, NDArray[Any]] = {}

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network for this frame, together with those that others have now. Raises InferenceError."""
        ((name, value),) = tensors.items()
        request = _Request(value, asker=self)
        # A follower waits for a turn on the device, too, and for the inference itself: both within the limit.
        batch = self._table.sit(request, 2 * self._timeout_s)
        if batch:
            self._lead(name, batch)
        if request.answer is None:
            raise InferenceError(request.error)
        return request.answer

    def _lead(self, name: str, batch: tuple[_Request, ...]) -> None:
        try:
            with self._slots.turn(self._timeout_s):
                answers = self._run(name, batch)
            # The session's buffers are overwritten by its next call: whoever else looks at them gets a copy.
            for number, request in enumerate(batch):
                part = {key: answer[number : number + 1] for key, answer in answers.items()}
                request.answer = part if number == 0 else {key: answer.copy() for key, answer in part.items()}
        except InferenceError as error:
            for request in batch:
                request.error = str(error)
        finally:
            for request in batch:
                request.error = request.error or ("" if request.answered else "the batch was given up")
            self._table.rise()

    def _run(self, name: str, batch: tuple[_Request, ...]) -> Tensors:
        if len(batch) == 1:
            return self._session.infer({name: batch[0].value})
        count = len(batch)
        if count not in self._buffers:
            first = batch[0].value
            self._buffers[count] = np.empty((count, *first.shape[1:]), first.dtype)
        buffer = self._buffers[count]
        np.concatenate([request.value for request in batch], out=buffer)
        return self._session.infer({name: buffer})


def why_not_batch(engine: Engine, shape: tuple[int, ...], dtype: str, most: int, *, measured: bool = True) -> str:
    """Why frames are not to be gathered for an engine; empty when it answers them alike and, `measured`, for less.

    Open axes are tried, not believed: a batch of different inputs must give what each gives alone.
    """
    (spec,) = engine.inputs
    if spec.shape[0] not in (-1, most):
        return f"the model has no batch axis: its input is {spec}"
    noise = np.random.default_rng(0).integers(0, 256, (most, *shape[1:])).astype(dtype)
    try:
        with engine.open_session() as session:
            alone = [_copies(session.infer({spec.name: noise[number : number + 1]})) for number in range(most)]
            together = _copies(session.infer({spec.name: noise}))
            if not _alike(alone, together):
                return f"a batch of {most} is not answered like its frames one by one"
            if not measured:
                return ""
            ratio = _cost(session, spec, noise) / sum(_cost(session, spec, noise[:1]) for _ in range(most))
    except InferenceError as error:
        return f"a batch of {most} fails: {error}"
    return "" if ratio <= _LEAST_GAIN else f"a batch of {most} costs {ratio:.2f} of its frames one by one: no gain"


def _copies(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {name: np.array(value) for name, value in tensors.items()}


def _alike(alone: list[dict[str, NDArray[Any]]], together: Tensors) -> bool:
    for name, batch in together.items():
        parts = [answer[name] for answer in alone]
        if batch.shape != (len(parts) * parts[0].shape[0], *parts[0].shape[1:]):
            return False
        expected = np.concatenate(parts).astype(np.float64)
        if not np.abs(expected - batch).max(initial=0.0) <= _CLOSE * max(
            float(np.abs(expected).max(initial=0.0)), 1e-6
        ):
            return False
    return True


def _cost(session: Session, spec: TensorSpec, value: NDArray[Any]) -> float:
    """Median seconds of an inference."""
    took: list[float] = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        session.infer({spec.name: value})
        took.append(time.perf_counter() - started)
    return float(np.median(took))
