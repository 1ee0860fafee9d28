"""What single steps cost, each beside the way people usually write it, in one run: trust the ratios.

usage: python benchmarks/stage.py
"""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.measures import edges, matcher, profile, sharpness
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.capture.conveyor import Conveyor
from edge_vision.core.detections import Detections
from edge_vision.core.frame import Frame
from edge_vision.core.geometry import Letterbox
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.postprocess.yolox import Yolox, YoloxOutput
from edge_vision.preprocess.enhance import Enhance, EnhanceOptions
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions
from edge_vision.preprocess.window import Window
from edge_vision.publish.wire import Wire
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import SystemClock

OPERATIONS: tuple[dict[str, Any], ...] = (
    {"kind": "clahe"},
    {"kind": "equalize"},
    {"kind": "gaussian"},
    {"kind": "median"},
    {"kind": "bilateral"},
    {"kind": "sharpen"},
    {"kind": "morphology", "method": "top_hat"},
    {"kind": "gamma", "gamma": 1.5},
    {"kind": "white_balance"},
    {"kind": "nl_means"},
)


def milliseconds(call: Callable[[], object], seconds: float = 0.5) -> float:
    """Processor time per call: the best of five rounds."""
    call()
    rounds = []
    for _ in range(5):
        count, started = 0, time.process_time()
        while time.process_time() - started < seconds / 5:
            call()
            count += 1
        rounds.append((time.process_time() - started) / count * 1e3)
    return min(rounds)


def report(name: str, ours: float, usual: float | None = None, usual_name: str = "") -> None:
    """One line: our figure, the usual way's, and the ratio."""
    beside = f"   {usual_name} {usual:.3f} ms   ratio {ours / usual:.2f}" if usual else ""
    print(f"{name:<44} {ours:8.4f} ms{beside}")


def preprocessing() -> None:
    """1080p to a 640 letterbox, RGB, mean and std, planar float."""
    image = np.empty((1080, 1920, 3), np.uint8)
    Conveyor((1920, 1080), 25).draw(0, image)
    plain = LetterboxPreprocessor(InputOptions(size=(640, 640), color="rgb", scale=1 / 255), "images")
    report(
        "preprocess 1080p to 640, letterbox, 1/255",
        milliseconds(lambda: plain(image)),
        milliseconds(lambda: blob(image)),
        "resize + blobFromImage",
    )
    report(
        "the same, beside numpy",
        milliseconds(lambda: plain(image)),
        milliseconds(lambda: by_numpy(image)),
        "numpy",
    )


def blob(image: np.ndarray) -> object:
    """Letterbox by copyMakeBorder, then cv2.dnn.blobFromImage."""
    resized = cv2.resize(image, (640, 360))
    padded = cv2.copyMakeBorder(resized, 140, 140, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True)


def by_numpy(image: np.ndarray) -> object:
    """Letterbox into a fresh array, then transpose and scale."""
    padded = np.full((640, 640, 3), 114, np.uint8)
    padded[140:500] = cv2.resize(image, (640, 360))
    return np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / 255


def enhancing() -> None:
    """Each operation of `enhance` at 1080p, beside copying the picture once."""
    image = np.empty((1080, 1920, 3), np.uint8)
    Conveyor((1920, 1080), 25).draw(0, image)
    scene = Scene(Frame("bench", 0, SystemClock().now(), 0, 0, image))
    copy = milliseconds(image.copy)
    for operation in OPERATIONS:
        stage = Enhance(EnhanceOptions.model_validate({"kind": "enhance", "operations": [operation]}))
        words = " ".join(str(value) for value in operation.values())
        report(f"enhance 1080p: {words}", milliseconds(partial(stage, scene)), copy, "copy")


def judging() -> None:
    """The stage `inspect` with as many parts, each with a defect; and measuring one part of 100x100."""
    labels = ("part", "scratch", "hole", "stain")
    rules = {"kind": "inspect", "parts": ["part"], "max_coverage": 0.01, "line": [[0.9, 0], [0.9, 1]]}
    for count in (1, 20, 200):
        place = np.stack(np.divmod(np.arange(count), 16), axis=1)[:, ::-1].astype(np.float32) * (110, 75) + 20
        parts = np.concatenate([place, place + np.array([100, 70])], axis=1)
        flaws = np.concatenate([place + 20, place + 30], axis=1)
        seen = Detections(
            np.concatenate([parts, flaws]).astype(np.float32),
            np.full(2 * count, 0.9, np.float32),
            np.repeat([0, 1], count).astype(np.int32),
            track_id=np.arange(2 * count, dtype=np.int32),
            attributes={"area_px": np.repeat([4000.0, 60.0], count).astype(np.float32)},
        )
        frame = Frame("bench", 0, SystemClock().now(), 0, 0, np.zeros((1080, 1920, 3), np.uint8))
        scene = Scene(frame, seen, labels=labels)
        stage = build_stage(TypeAdapter(AnalyticsOptions).validate_python(rules), StageContext(labels))
        report(f"inspect {count} parts with a defect each", milliseconds(partial(stage, scene)))
    part = np.random.default_rng(0).integers(0, 255, (100, 100)).astype(np.uint8)
    report("measure 100x100: sharpness", milliseconds(lambda: sharpness(part)))
    report("measure 100x100: caliper", milliseconds(lambda: edges(profile(part, (5, 50), (95, 50), 5), 1.0, 30)))
    search = matcher(part[30:60, 30:60])
    report("measure 100x100: template 30x30", milliseconds(lambda: search(part)))


def postprocessing() -> None:
    """A raw YOLOX head of 416x416 with 80 classes and a handful of objects."""
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 0.5, (1, 3549, 85)).astype(np.float32)
    raw[..., 4:] = rng.uniform(0, 0.01, raw[..., 4:].shape)
    for place in rng.integers(0, 3549, 40):
        raw[0, place, 4], raw[0, place, 5 + place % 80] = 0.9, 0.9
    letterbox = Letterbox.fit((768, 432), (416, 416), "letterbox", "top_left")
    decode = Yolox(YoloxOutput(format="yolox"), Thresholds(), ("x",) * 80, (416, 416))
    report("postprocess yolox 416, 40 objects", milliseconds(lambda: decode({"output": raw}, letterbox)))


def clips() -> None:
    """One more frame of 720p for a network that looks at 16 of 112x112."""
    image = np.empty((720, 1280, 3), np.uint8)
    Conveyor((1280, 720), 25).draw(0, image)
    window = Window(InputOptions(size=(112, 112), scale=1 / 255, layout="ncthw", frames=16), "clip")
    times = itertools.count(0, 40_000_000)
    report("one more frame in a clip of 16 of 112x112", milliseconds(lambda: window.take(image, next(times))))


def decoding() -> None:
    """Other heads at the sizes they are published with, and about 20 objects."""
    random = np.random.default_rng(0)

    def outputs(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {name: random.uniform(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}

    cells = (1600, 400, 100)
    nanodet = outputs(**{f"s{n}": (1, n, 80) for n in cells}, **{f"d{n}": (1, n, 32) for n in cells})
    nanodet["s400"][0, ::9, 3] = 0.9
    fastestdet = outputs(out=(1, 85, 22, 22))
    fastestdet["out"][0, [0, 8], ::5, ::5] = 0.95
    pose, turned, finished = outputs(out=(1, 56, 8400)), outputs(out=(1, 20, 21504)), outputs(out=(1, 300, 6))
    pose["out"][0, 4, ::420] = turned["out"][0, 7, ::1075] = finished["out"][0, ::15, 4] = 0.9
    for head in (pose, turned):
        head["out"][0, :4] *= 6000
    finished["out"][..., 5] = 3
    queries = outputs(logits=(1, 100, 92), pred_boxes=(1, 100, 4))
    queries["logits"][0, ::5, 3] = 9
    for name, classes, side, head in (
        ("nanodet", 80, 320, nanodet),
        ("fastestdet", 80, 352, fastestdet),
        ("yolov8_pose", 1, 640, pose),
        ("yolov8_obb", 15, 1024, turned),
        ("end2end", 80, 640, finished),
        ("detr", 91, 800, queries),
    ):
        options = TypeAdapter(OutputOptions).validate_python({"format": name})
        decode = build_postprocessor(options, Thresholds(), ("x",) * classes, (side, side))
        letterbox = Letterbox.fit((1280, 720), (side, side))
        cost = milliseconds(partial(decode, head, letterbox))
        report(f"postprocess {name} {side}, {len(decode(head, letterbox))} objects", cost)


def publishing() -> None:
    """One message of 20 detections, and one hop through a channel."""
    clock = SystemClock()
    labels = tuple(f"class{number}" for number in range(80))
    seen = Detections(
        np.random.default_rng(0).uniform(0, 700, (20, 4)).astype(np.float32),
        np.linspace(0.9, 0.3, 20, dtype=np.float32),
        np.arange(20, dtype=np.int32),
    )
    frame = Frame("bench", 0, clock.now(), clock.monotonic_ns(), 0, np.zeros((432, 768, 3), np.uint8))
    scene = Scene(frame, seen, labels=labels, models=(ServedModel("m", "onnxruntime", "CPU", "f32", labels),))
    wire = Wire("bench", "boot", clock)
    report("encode a message of 20 detections", milliseconds(lambda: wire.detections(scene)))
    channel: Channel[Frame] = Channel(1, Overflow.DROP_OLDEST)

    def hop() -> None:
        channel.put(frame, 0.0)
        channel.get(0.0)

    report("one hop through a channel", milliseconds(hop))


def main() -> None:
    """Everything, one line each."""
    cv2.setNumThreads(1)
    preprocessing()
    clips()
    enhancing()
    judging()
    postprocessing()
    decoding()
    publishing()


if __name__ == "__main__":
    main()
