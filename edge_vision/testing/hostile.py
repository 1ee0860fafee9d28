"""Scenes that a stage has to bear: what comes in when models, clocks and cameras do not do as one thinks."""

from collections.abc import Iterator, Sequence

import numpy as np

from edge_vision.core.detections import Detections, masks
from edge_vision.core.geometry import corners_of
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.testing.fakes import make_frame

_WH = (64, 48)
_MANY = 300


def hostile_scenes(labels: Sequence[str]) -> Iterator[tuple[str, Scene]]:
    """What happens, and the scene in which it does, in the order of one run of a camera; all objects have tracks."""
    random = np.random.default_rng(0)
    some = _objects(random, 5, len(labels))
    flat = some.xyxy[:, [0, 1, 0, 1]]
    yield "objects", _scene(some, labels, 0.0)
    yield "the same media time again", _scene(some, labels, 0.0)
    yield "the tracks have other classes", _scene(_other_classes(some, len(labels)), labels, 0.1)
    yield "nobody", _scene(_objects(random, 0, len(labels)), labels, 0.2)
    untracked = Detections(some.xyxy, some.confidence, some.class_id, text=np.array(list("abcde")))
    yield "objects of a stage behind the tracker", _scene(some.joined(untracked), labels, 0.3)
    yield "only those", _scene(some.where(np.zeros(5, bool)).joined(untracked), labels, 0.4)
    yield "the same without a number", _scene(untracked, labels, 0.5)
    yield "boxes of no size", _scene(_with_boxes(some, flat), labels, 0.6)
    yield (
        "boxes of no size at whole pixels",
        _scene(_with_boxes(some, np.rint(flat)), labels, 0.65),
    )
    yield "boxes turned inside out", _scene(_with_boxes(some, some.xyxy[:, [2, 3, 0, 1]]), labels, 0.7)
    yield "boxes outside", _scene(_with_boxes(some, some.xyxy + np.float32(500)), labels, 0.8)
    yield "boxes before the picture", _scene(_with_boxes(some, some.xyxy - np.float32(500)), labels, 0.9)
    yield "boxes on the last pixel", _scene(_with_boxes(some, np.tile(np.array(_WH, np.float32), (5, 2))), labels, 1.0)
    yield "huge boxes", _scene(_with_boxes(some, some.xyxy * np.array([-900, -900, 900, 900], np.float32)), labels, 1.1)
    yield "boxes that are no numbers", _scene(_with_boxes(some, np.full((5, 4), np.nan, np.float32)), labels, 1.2)
    yield "many", _scene(_objects(random, _MANY, len(labels)), labels, 1.3)
    yield "a larger picture", _scene(some, labels, 1.4, (128, 96))
    yield "a picture of one pixel", _scene(some, labels, 1.5, (1, 1))
    yield "days later", _scene(some, labels, 900_000.0)
    yield "a media clock that begins anew", _scene(some, labels, 0.0)
    yield "and goes on", _scene(some, labels, 0.1)


def _objects(random: np.random.Generator, count: int, classes: int) -> Detections:
    corner = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(1, 20, (count, 2))], axis=1).astype(np.float32)
    return Detections(
        boxes,
        np.sort(random.uniform(0.3, 1, count))[::-1].astype(np.float32),
        random.integers(0, classes, count).astype(np.int32),
        track_id=np.arange(1, count + 1, dtype=np.int32),
        keypoints=random.uniform(0, 48, (count, 5, 3)).astype(np.float32),
        quad=corners_of(boxes),
        mask=masks([np.ones((2, 3), bool)] * count),
        text=np.array(["A1"] * count, np.str_),
        began=boxes - np.float32(1),
        attributes={"color": np.array(["red"] * count, np.str_), "speed": np.ones(count, np.float32)},
    )


def _other_classes(seen: Detections, classes: int) -> Detections:
    return Detections.of({**seen.columns(), "class_id": (seen.class_id + 1) % np.int32(classes)})


def _with_boxes(seen: Detections, xyxy: np.ndarray) -> Detections:
    quads = corners_of(xyxy)
    return Detections.of({**seen.columns(), "xyxy": xyxy, "quad": quads})


def _scene(seen: Detections, labels: Sequence[str], seconds: float, wh: tuple[int, int] = _WH) -> Scene:
    picture = np.random.default_rng(7).integers(0, 256, (wh[1], wh[0], 3), np.uint8)
    frame = make_frame(picture, media_ns=int(seconds * 1e9))
    model = ServedModel("m", "b", "d", "f32", tuple(labels))
    return Scene(frame, seen, labels=tuple(labels), models=(model,), measures={"before": 5.0})
