"""Checks the checks: what breaks a contract is found by the contract suites of edge_vision.testing."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import SinkError, SourceError
from edge_vision.core.events import Count
from edge_vision.core.frame import Frame, FramePool, read_only
from edge_vision.core.geometry import Letterbox
from edge_vision.core.protocols import Availability, Stage
from edge_vision.core.scene import Scene
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.testing.contracts import (
    check_engine,
    check_postprocessor,
    check_probe,
    check_sink,
    check_source,
    check_stage,
)
from edge_vision.testing.fakes import (
    NOON,
    FakeBackend,
    FakeClock,
    FakeEngine,
    FakeSink,
    FakeSource,
    echo,
    make_frame,
    make_message,
)

SPEC = (TensorSpec("in", (1, 4), "float32"),)


def _frames() -> list[Frame]:
    return [make_frame(index=index) for index in range(3)]


def test_a_source_that_keeps_the_contract_passes() -> None:
    """With its end, or without."""
    check_source(FakeSource(_frames()), 3, ends=True)
    check_source(FakeSource(_frames(), live=True), 2, ends=False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: replace(frame, index=0),
        lambda frame: replace(frame, media_ns=0),
        lambda frame: replace(frame, captured_ns=0),
        lambda frame: replace(frame, source_id="other"),
        lambda frame: replace(frame, image=frame.image.copy()),
        lambda frame: replace(frame, image=read_only(np.zeros((4, 4), np.uint8))),
        lambda frame: replace(frame, image=read_only(np.zeros((4, 4, 4), np.uint8))),
        lambda frame: replace(frame, image=read_only(np.zeros((0, 4, 3), np.uint8))),
        lambda frame: replace(frame, image=read_only(np.zeros((4, 4, 3), np.uint16).astype(np.uint16))),
        lambda frame: replace(frame, timestamp=frame.timestamp.replace(tzinfo=None)),
        lambda frame: replace(frame, timestamp=frame.timestamp.astimezone(timezone(timedelta(hours=1)))),
    ],
)
def test_a_source_that_breaks_the_contract_is_found(spoil: Callable[[Frame], Frame]) -> None:
    """Each fact of the second frame spoilt in turn."""
    first, second, third = _frames()
    with pytest.raises(AssertionError):
        check_source(FakeSource([first, spoil(second), third]), 3, ends=True)


@pytest.mark.parametrize("asked", [2, 4])
def test_a_source_of_another_length_is_found(asked: int) -> None:
    """Too short, or going on after its end."""
    with pytest.raises(AssertionError):
        check_source(FakeSource(_frames()), asked, ends=True)


def test_a_source_that_writes_into_a_held_frame_is_found() -> None:
    """The reason why frames are leased."""
    buffer = np.zeros((4, 4, 3), np.uint8)

    def frames() -> Iterator[Frame]:
        for index in count():
            buffer[:] = index
            yield make_frame(buffer, index=index)

    with pytest.raises(AssertionError, match="changed while it was held"):
        check_source(FakeSource(frames()), 3, ends=False)


def test_a_source_out_of_a_pool_passes() -> None:
    """Frames that are held are left alone."""
    pool = FramePool(limit=2)

    def frames() -> Iterator[Frame]:
        for index in range(6):
            buffer = pool.take((4, 4, 3))
            buffer[:] = index
            yield make_frame(buffer, index=index)

    check_source(FakeSource(frames()), 6, ends=True)


@pytest.mark.parametrize(
    "availability",
    [
        Availability(available=True, reason="works"),
        Availability(available=True, reason="works", version="1"),
        Availability(available=False, reason=" "),
    ],
)
def test_a_probe_that_says_too_little_is_found(availability: Availability) -> None:
    """A reason always; a version and a device with a yes."""
    backend = FakeBackend()
    check_probe(backend)
    backend.availability = availability
    with pytest.raises(AssertionError):
        check_probe(backend)


def test_an_engine_that_keeps_the_contract_passes() -> None:
    """And its outputs come back as copies."""
    value = np.ones((1, 4), np.float32)
    found = check_engine(FakeEngine(SPEC, echo), {"in": value})
    value[:] = 0
    assert found["out"].tolist() == [[1, 1, 1, 1]]


_CALLS = count()


def _never_the_same(_tensors: Tensors) -> Tensors:
    return {"out": np.array([next(_CALLS)], np.float32)}


def _other_in_a_thread(_tensors: Tensors) -> Tensors:
    here = threading.current_thread() is threading.main_thread()
    return {"out": np.array([here], np.float32)}


def _write_to_input(tensors: Tensors) -> Tensors:
    value = tensors["in"]
    answer = {"out": np.zeros(1, np.float32)}
    value[:] = 7
    return answer


@pytest.mark.parametrize(
    "engine",
    [
        FakeEngine((), echo),
        FakeEngine(SPEC, lambda _: {}),
        FakeEngine(SPEC, lambda _: {"out": np.array([np.nan], np.float32)}),
        FakeEngine(SPEC, _write_to_input),
        FakeEngine(SPEC, _never_the_same),
        FakeEngine(SPEC, _other_in_a_thread),
    ],
    ids=["no inputs", "no outputs", "nan", "writes to its input", "not the same twice", "other in a thread"],
)
def test_an_engine_that_breaks_the_contract_is_found(engine: FakeEngine) -> None:
    """Each promise broken in turn."""
    with pytest.raises(AssertionError):
        check_engine(engine, {"in": np.ones((1, 4), np.float32)})


def _decoded(**columns: NDArray[Any]) -> Detections:
    whole = {
        "xyxy": np.array([[0, 0, 5, 5], [1, 1, 9, 9]], np.float32),
        "confidence": np.array([0.9, 0.8], np.float32),
        "class_id": np.array([1, 0], np.int32),
    }
    return Detections.of({**whole, **columns})


@pytest.mark.parametrize(
    "columns",
    [
        {"xyxy": np.array([[0, 0, 5, 5], [1, 1, 11, 9]], np.float32)},
        {"xyxy": np.array([[0, -1, 5, 5], [1, 1, 9, 9]], np.float32)},
        {"xyxy": np.array([[0, 0, 5, 5], [1, 1, 9, 9]], np.float64)},
        {"confidence": np.array([0.8, 0.9], np.float32)},
        {"confidence": np.array([0.9, 0.8], np.float64)},
        {"class_id": np.array([2, 0], np.int32)},
        {"class_id": np.array([-1, 0], np.int32)},
        {"class_id": np.array([1, 0], np.int64)},
    ],
)
def test_a_decoder_that_breaks_the_contract_is_found(columns: dict[str, NDArray[Any]]) -> None:
    """Outside the picture, of another type, in another order, of an unknown class."""
    letterbox = Letterbox.fit((10, 10), (10, 10))
    check_postprocessor(lambda *_: _decoded(), {"out": np.zeros(1)}, letterbox, 2)
    with pytest.raises(AssertionError):
        check_postprocessor(lambda *_: _decoded(**columns), {"out": np.zeros(1)}, letterbox, 2)


def test_a_decoder_that_remembers_or_writes_is_found() -> None:
    """Pure: the same twice, and its input as it was."""
    letterbox = Letterbox.fit((10, 10), (10, 10))
    calls = count(1)

    def remembers(tensors: Tensors, letterbox: Letterbox) -> Detections:
        del tensors, letterbox
        return _decoded().where(np.arange(next(calls) % 2))

    def writes(tensors: Tensors, letterbox: Letterbox) -> Detections:
        del letterbox
        tensors["out"][:] = 1
        return _decoded()

    with pytest.raises(AssertionError, match="pure"):
        check_postprocessor(remembers, {"out": np.zeros(1)}, letterbox, 2)
    with pytest.raises(AssertionError, match="input"):
        check_postprocessor(writes, {"out": np.zeros(1)}, letterbox, 2)


def _does_nothing(scene: Scene) -> Scene:
    return scene


def _drops_events(scene: Scene) -> Scene:
    return replace(scene, events=())


def _other_frame(scene: Scene) -> Scene:
    return replace(scene, frame=replace(scene.frame, index=99))


def _writes_detections(scene: Scene) -> Scene:
    scene.detections.confidence[:] *= np.float32(0.5)
    return scene


def _is_random(scene: Scene) -> Scene:
    return replace(
        scene, detections=replace(scene.detections, confidence=np.random.default_rng().random(2, np.float32))
    )


@pytest.mark.parametrize("stage", [_drops_events, _other_frame, _writes_detections, _is_random])
def test_a_stage_that_breaks_the_contract_is_found(stage: Stage) -> None:
    """Each promise broken in turn; a stage that does nothing keeps them all."""
    scene = Scene(make_frame(), _decoded(), (Count(zone=None, total=2, by_class={}, reason="change"),))
    check_stage(lambda: _does_nothing, scene)
    with pytest.raises(AssertionError):
        check_stage(lambda: stage, scene)


def test_check_sink_sends_every_message_twice() -> None:
    """As one batch, and one by one; a failure gets out."""
    messages = [make_message(1), make_message(2)]
    sink = FakeSink()
    check_sink(sink, messages)
    assert [message.seq for message in sink.sent] == [1, 2, 1, 2]
    assert sink.calls == 5
    with pytest.raises(SinkError):
        check_sink(FakeSink(failures=1), messages)


def test_the_fakes_follow_their_scripts() -> None:
    """A source raises where it is told; a sink delivers what it is told; a clock moves when it is told."""
    source = FakeSource([make_frame(), SourceError("gone")])
    assert source.read() is not None
    with pytest.raises(SourceError, match="gone"):
        source.read()
    assert source.read() is None
    sink = FakeSink(failures=1, delivers=1)
    batch: Sequence[Any] = [make_message(1), make_message(2)]
    with pytest.raises(SinkError) as caught:
        sink.send(batch)
    assert (caught.value.delivered, len(sink.sent)) == (1, 1)
    clock = FakeClock()
    before = clock.monotonic_ns()
    clock.sleep(1.5)
    assert (clock.monotonic_ns() - before, clock.now() - NOON) == (1_500_000_000, timedelta(seconds=1.5))
    assert clock.slept == [1.5]
