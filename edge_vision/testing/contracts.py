"""Checks that an implementation keeps the contract of its socket (see core/protocols.py); each raises AssertionError.

Call them from the tests of a new source, runtime, decoder, stage or sink, with a real one in hand.
"""

import math
import threading
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.frame import Frame
from edge_vision.core.geometry import Letterbox
from edge_vision.core.message import Message
from edge_vision.core.protocols import Availability, Backend, Engine, Finisher, Postprocessor, Sink, Source, Stage
from edge_vision.core.scene import Scene
from edge_vision.core.tensor import Tensors

_OF_A_FRAME = ("source_id", "index", "timestamp", "captured_ns", "media_ns")


def check_source(source: Source, count: int, *, ends: bool) -> list[Frame]:
    """Read `count` frames and hold every one; with `ends`, nothing may come after them, however often one asks.

    Indices and media times rise, pictures are read-only HxWx3 uint8, and no frame changes while it is held.
    """
    assert isinstance(source.live, bool)
    frames: list[Frame] = []
    sums: list[int] = []
    for number in range(count):
        frame = source.read()
        assert frame is not None, f"the source ended after {number} of {count} frames"
        _check_frame(frame)
        if frames:
            _check_order(frames[-1], frame)
        frames.append(frame)
        sums.append(_checksum(frame.image))
    if ends:
        assert source.read() is None, f"a frame came after {count} frames"
        assert source.read() is None, "a frame came after the end"
    for frame, checksum in zip(frames, sums, strict=True):
        assert _checksum(frame.image) == checksum, f"frame {frame.index} changed while it was held"
    return frames


def _check_frame(frame: Frame) -> None:
    image = frame.image
    assert image.dtype == np.uint8, f"dtype {image.dtype}"
    assert image.ndim == 3, f"shape {image.shape}"  # noqa: PLR2004 - height, width, channels
    assert image.shape[2] == 3, f"shape {image.shape}"  # noqa: PLR2004 - blue, green, red
    assert image.size > 0, "an empty picture"
    assert not image.flags.writeable, "the picture can be written to"
    assert frame.timestamp.utcoffset() == timedelta(0), "the timestamp is not UTC"
    assert frame.wh == (image.shape[1], image.shape[0])


def _check_order(earlier: Frame, later: Frame) -> None:
    assert later.source_id == earlier.source_id
    assert later.index > earlier.index, f"index {later.index} after {earlier.index}"
    assert later.media_ns > earlier.media_ns, f"media time {later.media_ns} after {earlier.media_ns}"
    assert later.captured_ns >= earlier.captured_ns, "the clock ran backwards"


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def check_probe(backend: Backend) -> Availability:
    """The probe does not raise, gives a reason, and names a version and a device when it says yes."""
    availability = backend.probe()
    assert availability.reason.strip(), "a probe without a reason"
    assert backend.formats, "a runtime that reads no format"
    if availability.available:
        assert availability.version, "a runtime that works has a version"
        assert availability.devices, "a runtime that works has a device"
    return availability


def check_engine(engine: Engine, tensors: Tensors, threads: int = 2) -> dict[str, NDArray[Any]]:
    """Run sessions one after the other and `threads` of them at once: all give the same finite outputs.

    `tensors` stays as it is. Returns copies of the outputs.
    """
    assert engine.inputs, "an engine without inputs"
    assert engine.device.strip(), "an engine without a device"
    before = {name: value.copy() for name, value in tensors.items()}
    with engine.open_session() as session:
        first = _copied(session.infer(tensors))
        second = _copied(session.infer(tensors))
    assert first, "an inference without outputs"
    for name, value in first.items():
        assert np.isfinite(value).all(), f"output {name} is not finite"
    _assert_same(first, second, "a second inference")
    for number, found in enumerate(_in_threads(engine, before, threads)):
        _assert_same(first, found, f"the session of thread {number}")
    for name, value in before.items():
        assert np.array_equal(tensors[name], value), f"input {name} was changed"
    return first


def _in_threads(engine: Engine, tensors: Tensors, count: int) -> list[dict[str, NDArray[Any]]]:
    """What `count` sessions answer that run at the same time, each with an input of its own."""
    results: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    together = threading.Barrier(count, timeout=60)

    def run(place: int) -> None:
        mine = {name: value.copy() for name, value in tensors.items()}
        with engine.open_session() as session:
            together.wait()
            for _ in range(3):
                results[place] = _copied(session.infer(mine))

    threads = [threading.Thread(target=run, args=(place,), name=f"session {place}") for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _copied(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {name: np.array(value) for name, value in tensors.items()}


def _assert_same(expected: Tensors, found: Tensors, what: str) -> None:
    assert list(expected) == list(found), f"{what} gives outputs {list(found)}, not {list(expected)}"
    for name, value in expected.items():
        assert np.allclose(value, found[name], rtol=1e-4, atol=1e-5), f"{what} gives another {name}"


def check_postprocessor(
    postprocessor: Postprocessor, tensors: Tensors, letterbox: Letterbox, classes: int
) -> Detections:
    """Decode twice: the same detections, best first, of known classes, inside the picture; `tensors` unchanged."""
    before = _copied(tensors)
    found = postprocessor(tensors, letterbox)
    again = postprocessor(tensors, letterbox)
    _assert_same(before, tensors, "the postprocessor's input afterwards")
    assert found.xyxy.dtype == np.float32
    assert found.confidence.dtype == np.float32
    assert found.class_id.dtype == np.int32
    assert found.xyxy.shape == (len(found), 4)
    assert np.array_equal(found.xyxy, again.xyxy), "not pure"
    assert np.array_equal(found.confidence, again.confidence), "not pure"
    assert np.array_equal(found.class_id, again.class_id), "not pure"
    assert (np.diff(found.confidence) <= 0).all(), "not sorted by confidence"
    assert ((found.class_id >= 0) & (found.class_id < classes)).all(), "a class without a label"
    width, height = letterbox.source_wh
    assert (found.xyxy >= 0).all(), "outside the picture"
    assert (found.xyxy <= np.array([width, height, width, height])).all(), "outside the picture"
    _check_findings(found)
    return found


def _check_findings(found: Detections) -> None:
    """Masks are grids, embeddings have unit length, attributes are text or float32."""
    for grid in () if found.mask is None else found.mask:
        assert (grid.dtype, grid.ndim) == (np.bool_, 2), f"a mask of {grid.dtype} with {grid.ndim} axes"
        assert grid.size, "an empty mask"
    if found.embedding is not None:
        assert found.embedding.dtype == np.float32
        assert np.allclose(np.linalg.norm(found.embedding, axis=1), 1.0, atol=1e-5), "an embedding of another length"
    for name, column in found.attributes.items():
        assert column.dtype == np.float32 or column.dtype.kind == "U", f"attribute {name} is {column.dtype}"


def check_stage(make: Callable[[], Stage], scene: Scene, *, repaints: bool = False) -> Scene:
    """Run two fresh stages on `scene`: the same answer, the same frame, and the scene given stays as it is.

    A stage that `repaints` hands on the frame with another picture of the same size, and nothing else of it changed.
    """
    return check_stage_goes_on(make, [scene], repaints=repaints)[0]


def check_stage_goes_on(make: Callable[[], Stage], scenes: Sequence[Scene], *, repaints: bool = False) -> list[Scene]:
    """Take two stages through `scenes`, one after the other: none fails, and each is as `check_stage` has it.

    `hostile_scenes` are what a stage has to bear: see `testing/hostile.py`.
    """
    one, other = make(), make()
    after = [_check_stage_once(one, other, scene, repaints=repaints) for scene in scenes]
    if isinstance(one, Finisher) and isinstance(other, Finisher):
        end = Scene(scenes[-1].frame, labels=scenes[-1].labels)
        told = one.finish(end)
        assert told.events == other.finish(end).events, "two stages end in different ways"
        assert told.frame is end.frame, "a stage must hand on the frame it was given"
        assert one.finish(end).events == (), "what was told at the end is told again"
    return after


def _check_stage_once(one: Stage, other: Stage, scene: Scene, *, repaints: bool) -> Scene:
    before, events, picture = _columns(scene.detections), scene.events, scene.frame.image.copy()
    after, again = one(scene), other(scene)
    assert isinstance(after, Scene)
    if repaints:
        _check_frame(after.frame)
        assert np.array_equal(after.frame.image, again.frame.image), "two fresh stages paint differently"
        assert after.frame.image.shape == picture.shape, "the new picture has another size"
        for name in _OF_A_FRAME:
            assert getattr(after.frame, name) == getattr(scene.frame, name), f"another {name} than the frame given"
    else:
        assert after.frame is scene.frame, "a stage must hand on the frame it was given"
    assert after.models[: len(scene.models)] == scene.models, "a stage must hand on the models"
    assert after.events[: len(events)] == events, "a stage must keep the events of earlier stages"
    assert after.events == again.events, "two fresh stages tell different things"
    assert scene.events == events, "the events given were changed"
    assert scene.measures.items() <= after.measures.items(), "a stage must hand on the measures"
    assert all(map(math.isfinite, after.measures.values())), "a measure is no number"
    assert np.array_equal(scene.frame.image, picture), "the picture was changed"
    _assert_same_columns(before, _columns(scene.detections), "the detections given were changed")
    _assert_same_columns(_columns(after.detections), _columns(again.detections), "two fresh stages differ")
    _check_rows(after)
    return after


def _check_rows(scene: Scene) -> None:
    """Every column has its type, and every class a label."""
    seen = scene.detections
    for name, column in seen.columns().items():
        assert column.dtype.kind == _KINDS[name], f"column {name} is {column.dtype}"
    for name, column in seen.attributes.items():
        assert column.dtype == np.float32 or column.dtype.kind == "U", f"attribute {name} is {column.dtype}"
    known = len(scene.labels) or np.inf  # a scene made for a test may do without labels
    assert ((seen.class_id >= 0) & (seen.class_id < known)).all(), "a class without a label"


_KINDS: Final = {
    **dict.fromkeys(("xyxy", "confidence", "keypoints", "quad", "embedding", "began"), "f"),
    **dict.fromkeys(("class_id", "track_id"), "i"),
    "mask": "O",
    "text": "U",
}


def _columns(detections: Detections) -> dict[str, NDArray[Any]]:
    """A copy of every column and attribute that there is."""
    attributes = {f"attribute {name}": column for name, column in detections.attributes.items()}
    return {name: column.copy() for name, column in {**detections.columns(), **attributes}.items()}


def _assert_same_columns(expected: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]], what: str) -> None:
    assert expected.keys() == found.keys(), f"{what}: {', '.join(sorted(expected.keys() ^ found.keys()))}"
    for name, column in expected.items():
        if column.dtype == object:
            same = len(column) == len(found[name]) and all(map(np.array_equal, column, found[name]))
        else:
            same = np.array_equal(column, found[name], equal_nan=column.dtype.kind == "f")
        assert same, f"{what}: {name}"


def check_sink(sink: Sink, messages: Sequence[Message]) -> None:
    """Send a batch, then nothing, then one by one; the caller looks at what arrived: every message twice."""
    given = list(messages)
    sink.send(given)
    assert given == list(messages), "the batch was changed"
    sink.send([])
    for message in messages:
        sink.send([message])
    sink.send([])
