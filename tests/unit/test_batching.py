"""Checks that frames gathered into one inference are answered each with its own answer, in time."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import with_batch_axis
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference import batching
from edge_vision.inference.batching import BatchingEngine, why_not_batch
from edge_vision.inference.slots import Slots
from edge_vision.inference.table import backend
from edge_vision.testing.fakes import FakeEngine

SPEC = (TensorSpec("in", (-1, 1, 1, 1), "float32"),)
PARTS = Path(__file__).parents[2] / "configs/demo/parts/parts.onnx"


def _value(number: float) -> dict[str, NDArray[Any]]:
    return {"in": np.full((1, 1, 1, 1), number, np.float32)}


def gather(engine: BatchingEngine, cameras: int, frames: int) -> list[list[float]]:
    """Every camera sends `frames` different inputs one after the other; what each got back, in order."""
    got: list[list[float]] = [[] for _ in range(cameras)]
    together = threading.Barrier(cameras, timeout=60)

    def camera(number: int) -> None:
        with engine.open_session() as session:
            together.wait()
            for frame in range(frames):
                answer = session.infer(_value(1000 * number + frame))
                got[number].append(float(answer["out"].ravel()[0]))
            together.wait()

    threads = [threading.Thread(target=camera, args=(number,)) for number in range(cameras)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return got


@pytest.mark.parametrize("cameras, most", [(1, 4), (4, 4), (5, 3), (8, 2)])
def test_every_camera_gets_its_own_answers_in_order(cameras: int, most: int) -> None:
    """Whatever the others send at the same time; no batch is larger than allowed, and some are larger than one."""
    sizes: list[int] = []

    def square(tensors: Tensors) -> Tensors:
        sizes.append(len(tensors["in"]))
        time.sleep(0.002)
        return {"out": tensors["in"] * 2}

    engine = BatchingEngine(FakeEngine(SPEC, square), Slots("d", 1), most, 0.02, 10)
    got = gather(engine, cameras, 20)
    assert got == [[2.0 * (1000 * number + frame) for frame in range(20)] for number in range(cameras)]
    assert sum(sizes) == cameras * 20
    assert max(sizes) <= most
    assert cameras == 1 or len(sizes) < sum(sizes)


def test_one_session_waits_for_nobody() -> None:
    """With a window of a minute, a camera that is alone is answered at once."""
    engine = BatchingEngine(FakeEngine(SPEC, lambda tensors: {"out": tensors["in"]}), Slots("d", 1), 8, 60.0, 10)
    started = time.monotonic()
    assert gather(engine, 1, 3) == [[0.0, 1.0, 2.0]]
    assert time.monotonic() - started < 30


def test_a_camera_that_pauses_holds_the_others_up_no_longer_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cameras one falls silent: the other waits for the window and goes alone; after a while not even that."""
    monkeypatch.setattr(batching, "_RECENT_S", 60.0)
    engine = BatchingEngine(FakeEngine(SPEC, lambda tensors: {"out": tensors["in"]}), Slots("d", 1), 8, 0.2, 10)
    with ExitStack() as stack:
        one, other = (stack.enter_context(engine.open_session()) for _ in range(2))
        del other  # it sends nothing
        started = time.monotonic()
        assert one.infer(_value(7))["out"].ravel()[0] == 7
        assert 0.2 <= time.monotonic() - started < 20
        monkeypatch.setattr(batching, "_RECENT_S", 0.05)
        time.sleep(0.1)
        engine._table.window_s = 60.0
        started = time.monotonic()
        assert one.infer(_value(8))["out"].ravel()[0] == 8
        assert time.monotonic() - started < 20


def test_an_answer_outlives_the_next_batch() -> None:
    """The runtime overwrites its outputs at its next call; what a follower was given stays."""
    buffer = np.zeros((4, 1, 1, 1), np.float32)

    def reuse(tensors: Tensors) -> Tensors:
        count = len(tensors["in"])
        buffer[:count] = tensors["in"]
        return {"out": buffer[:count]}

    engine = BatchingEngine(FakeEngine(SPEC, reuse), Slots("d", 1), 2, 1.0, 10)
    kept: list[NDArray[Any]] = []
    ready = threading.Barrier(2, timeout=60)

    def follow() -> None:
        with engine.open_session() as session:
            ready.wait()
            time.sleep(0.1)  # comes second: the other leads
            kept.append(session.infer(_value(5))["out"])
            ready.wait()

    follower = threading.Thread(target=follow)
    follower.start()
    with engine.open_session() as session:
        ready.wait()
        session.infer(_value(4))
        buffer[:] = -1
        ready.wait()
    follower.join(60)
    assert float(kept[0].ravel()[0]) == 5.0


def test_a_failed_batch_fails_every_frame_of_it_and_no_other() -> None:
    """Each camera hears why; the next batch is answered."""
    calls: list[int] = []

    def fail_once(tensors: Tensors) -> Tensors:
        calls.append(len(tensors["in"]))
        if len(calls) == 1:
            msg = "out of memory"
            raise InferenceError(msg)
        return {"out": tensors["in"]}

    engine = BatchingEngine(FakeEngine(SPEC, fail_once), Slots("d", 1), 2, 8.0, 10)
    outcomes: list[str] = []
    together = threading.Barrier(2, timeout=60)

    def camera() -> None:
        with engine.open_session() as session:
            together.wait()
            for _ in range(2):
                try:
                    outcomes.append(str(float(session.infer(_value(3))["out"].ravel()[0])))
                except InferenceError as error:
                    outcomes.append(str(error))
            together.wait()

    threads = [threading.Thread(target=camera) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["3.0", "3.0", "out of memory", "out of memory"]
    assert calls == [2, 2]


def test_who_is_not_answered_in_time_says_so() -> None:
    """A leader whose device has no turn fails its frame and those that came along, within the limit."""
    slots = Slots("d", 1)
    engine = BatchingEngine(FakeEngine(SPEC, lambda tensors: {"out": tensors["in"]}), slots, 4, 0.0, 0.1)
    with slots.turn(1.0), engine.open_session() as session, pytest.raises(InferenceError, match="no turn on d"):
        session.infer(_value(1))


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda tensors: {"out": tensors["in"] * 2}, "no gain"),
        (lambda tensors: {"out": tensors["in"][:1]}, "not answered like its frames one by one"),
        (lambda tensors: {"out": tensors["in"] * np.float32(len(tensors["in"]))}, "not answered like"),
    ],
    ids=["slow", "first only", "mixed"],
)
def test_an_open_axis_is_tried_not_believed(answer: Any, words: str) -> None:
    """A batch must be answered like its frames, and for less."""

    def at_a_price(tensors: Tensors) -> Tensors:
        time.sleep(0.002 * len(tensors["in"]) ** 2)  # dearer than one by one, on a busy machine, too
        return dict(answer(tensors))

    assert words in why_not_batch(FakeEngine(SPEC, at_a_price), (1, 1, 1, 1), "float32", 4)


def test_a_device_that_gains_gathers() -> None:
    """A batch that costs no more than one frame is worth it."""

    def flat(tensors: Tensors) -> Tensors:
        time.sleep(0.05)
        return {"out": tensors["in"]}

    assert why_not_batch(FakeEngine(SPEC, flat), (1, 1, 1, 1), "float32", 4) == ""
    fixed = (TensorSpec("in", (1, 1, 1, 1), "float32"),)
    assert "has no batch axis" in why_not_batch(FakeEngine(fixed, flat), (1, 1, 1, 1), "float32", 4)


def test_a_real_network_answers_a_batch_like_its_frames(tmp_path: Path) -> None:
    """The demo's detector with an open axis on ONNX Runtime: three cameras at once get what each gets alone."""
    with_batch_axis(PARTS, tmp_path / "open.onnx")
    file = ModelFile(tmp_path / "open.onnx", "onnx", (1, 3, 192, 320))
    inner = backend("onnxruntime").load(file, LoadOptions(batch=3))
    assert why_not_batch(inner, file.input_shape, "float32", 3, measured=False) == ""
    engine = BatchingEngine(inner, Slots("CPU", 1), 3, 1.0, 10)
    (spec,) = inner.inputs
    frames = np.random.default_rng(1).integers(0, 256, (3, 3, 192, 320)).astype(np.float32)
    with inner.open_session() as session:
        alone = [np.array(session.infer({spec.name: frames[number : number + 1]})["output"]) for number in range(3)]
    got: dict[int, NDArray[Any]] = {}
    together = threading.Barrier(3, timeout=60)

    def camera(number: int) -> None:
        with engine.open_session() as session:
            together.wait()
            got[number] = np.array(session.infer({spec.name: frames[number : number + 1]})["output"])
            together.wait()

    threads = [threading.Thread(target=camera, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(3):
        assert np.allclose(got[number], alone[number], rtol=1e-4, atol=1e-4)
        assert not np.allclose(got[number], alone[(number + 1) % 3], atol=0.1)
