"""Stand-ins that behave: a clock that moves only when told, sources, sinks and engines that follow a script."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import SinkError
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.message import Message
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.worker import Worker

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)
"""When a `FakeClock` starts."""


class FakeClock:
    """A clock that moves when it is told to, or when somebody sleeps on it; any thread may use it."""

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._elapsed_ns = 0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def monotonic_ns(self) -> int:
        """Nanoseconds since the clock was made, plus one second, so that 0 stays "never"."""
        return 1_000_000_000 + self._elapsed_ns

    def now(self) -> datetime:
        """The start, and what has passed since."""
        return self._start + timedelta(microseconds=self._elapsed_ns // 1000)

    def sleep(self, seconds: float) -> None:
        """Return at once, with the clock advanced; `slept` remembers."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._elapsed_ns += round(seconds * 1e9)


class FakeEvent(threading.Event):
    """An event whose `wait` returns at once and advances a fake clock by the time-out instead."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set; pretends to have waited when it is not."""
        if not self.is_set():
            assert timeout is not None, "would wait for ever"
            self.waits.append(timeout)
            self._clock.advance(timeout)
        return self.is_set()


class FakeWorker(Worker):
    """A worker without a thread, for calling a loop directly: waits take no time, beats are counted."""

    def __init__(self, clock: FakeClock, name: str = "fake") -> None:
        super().__init__(name, lambda _: None, limit_s=1.0, clock=clock)
        self.event = FakeEvent(clock)
        self.stopping = self.event
        self.beats = 0

    def beat(self) -> None:
        """Count a sign of progress."""
        self.beats += 1
        super().beat()


def make_frame(
    image: NDArray[np.uint8] | None = None,
    *,
    index: int = 0,
    source_id: str = "cam",
    clock: Clock | None = None,
    media_ns: int | None = None,
) -> Frame:
    """A frame around `image`, or around a black picture of 64x48; its media time is 40 ms per index."""
    clock = clock or FakeClock()
    picture = np.zeros((48, 64, 3), np.uint8) if image is None else image
    media_ns = index * 40_000_000 if media_ns is None else media_ns
    return Frame(source_id, index, clock.now(), clock.monotonic_ns(), media_ns, read_only(picture))


def make_message(number: int = 1, *, kind: str = "detections", source: str = "cam", body: bytes = b"{}") -> Message:
    """The message `number` of a source, on its topic."""
    topic = f"edge-vision/v1/test/{source}/{kind}" if source else f"edge-vision/v1/test/{kind}"
    name = f"boot-{source or 'test'}-{kind}-{number}"
    return Message(name, "boot", number, kind, source, topic, body, retain=kind == "status")


class FakeSource:
    """A source that follows a script: frames are given, exceptions raised, and then it ends."""

    def __init__(self, script: Iterable[Frame | Exception], *, live: bool = False) -> None:
        self.live = live
        self.reads = 0
        self._script = iter(script)

    def read(self) -> Frame | None:
        """The next frame of the script, or None after its end."""
        self.reads += 1
        step = next(self._script, None)
        if isinstance(step, Exception):
            raise step
        return step


class FakeSink:
    """A sink that remembers what it was sent; `failures` raises SinkError on that many calls first."""

    def __init__(self, failures: int = 0, delivers: int = 0) -> None:
        self.sent: list[Message] = []
        self.calls = 0
        self._failures = failures
        self._delivers = delivers

    def send(self, messages: Sequence[Message]) -> None:
        """Remember the messages, or the first `delivers` of them and raise SinkError."""
        self.calls += 1
        if messages and self._failures:
            self._failures -= 1
            taken = messages[: self._delivers]
            self.sent += taken
            msg = "the fake sink was told to fail"
            raise SinkError(msg, delivered=len(taken))
        self.sent += messages


class FakeHistory:
    """Keeps messages in memory; `broken` makes every question a SinkError."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.messages = list(messages)
        self.broken = False

    def since(self, boot: str, source: str, kind: str, first: int, last: int | None, most: int) -> list[Message]:
        """Those of a boot, source and kind with numbers from first to last, in order."""
        self._refuse()
        numbers = range(first, (last or 1 << 62) + 1)
        stream = (one for one in self.messages if (one.boot, one.source, one.kind) == (boot, source, kind))
        return sorted((one for one in stream if one.seq in numbers), key=lambda message: message.seq)[:most]

    def ranges(self) -> list[tuple[str, str, str, int, int]]:
        """The first and last number of each stream."""
        self._refuse()
        numbers: dict[tuple[str, str, str], list[int]] = {}
        for one in list(self.messages):
            numbers.setdefault((one.boot, one.source, one.kind), []).append(one.seq)
        return [(*stream, min(found), max(found)) for stream, found in sorted(numbers.items())]

    def _refuse(self) -> None:
        if self.broken:
            msg = "the fake history was told to fail"
            raise SinkError(msg)


class FakeSession:
    """A session that answers with a function of its input."""

    def __init__(self, answer: Callable[[Tensors], Tensors]) -> None:
        self._answer = answer

    def infer(self, tensors: Tensors) -> Tensors:
        """The answer."""
        return self._answer(tensors)


class FakeEngine:
    """An engine without weights; counts its open sessions."""

    device = "FAKE"

    def __init__(self, inputs: tuple[TensorSpec, ...], answer: Callable[[Tensors], Tensors]) -> None:
        self.inputs = inputs
        self.open_sessions = 0
        self._answer = answer

    @contextmanager
    def open_session(self) -> Iterator[FakeSession]:
        """A handle that answers like the engine."""
        self.open_sessions += 1
        try:
            yield FakeSession(self._answer)
        finally:
            self.open_sessions -= 1


def echo(tensors: Tensors) -> Tensors:
    """An answer: the input itself, as the output "out"."""
    (value,) = tensors.values()
    return {"out": value}


class FakeBackend:
    """A runtime that says what it is told to say; subclass it and change the attributes."""

    formats: tuple[str, ...] = ("onnx",)
    availability = Availability(available=True, reason="works", version="0", devices=("FAKE",))
    load_error: Exception | None = None
    infer_error: Exception | None = None

    def probe(self) -> Availability:
        """What it was told to say."""
        return self.availability

    def load(self, file: ModelFile, options: LoadOptions) -> FakeEngine:
        """An engine that echoes its input, or the error it was told to raise."""
        del options
        if self.load_error is not None:
            raise self.load_error
        return FakeEngine((TensorSpec("in", file.input_shape, file.input_dtype),), self._answer)

    def _answer(self, tensors: Tensors) -> Tensors:
        if self.infer_error is not None:
            raise self.infer_error
        return echo(tensors)
