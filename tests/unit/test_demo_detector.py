"""Checks that the demo's detector really sees: parts on lines never trained on are found, and little else.

The decoder below is written from the bundle's contract alone, so that it also proves the file keeps it.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from edge_vision.capture.conveyor import LABELS, Conveyor

DEMO = Path(__file__).parents[2] / "configs" / "demo"
WIDTH, HEIGHT, PAD = 320, 192, 114
STRIDES = (8, 16, 32)
CONFIDENCE, IOU = 0.4, 0.45
FIRST_SEED = 3_000_000  # training seeds lie below 1,000,000
LEAST_RECALL = 0.93
LEAST_PRECISION = 0.93


@pytest.fixture(scope="module", name="session")
def _session() -> onnxruntime.InferenceSession:
    """Load the shipped file on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(DEMO / "parts" / "parts.onnx"), options, providers=["CPUExecutionProvider"])


def _detect(
    session: onnxruntime.InferenceSession, image: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return xyxy float32 (n, 4) in pixels of `image` and class int64 (n,), best first."""
    height, width = image.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    boxed = np.full((HEIGHT, WIDTH, 3), PAD, np.uint8)
    fitted = cv2.resize(image, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_LINEAR)
    boxed[: fitted.shape[0], : fitted.shape[1]] = fitted
    tensor = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], np.float32)
    raw = np.asarray(session.run(["output"], {"images": tensor})[0])[0]
    grid = np.array([(x, y, s) for s in STRIDES for y in range(HEIGHT // s) for x in range(WIDTH // s)], np.float32)
    center = (raw[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(raw[:, 2:4]) * grid[:, 2:] / 2
    boxes = np.concatenate((center - half, center + half), axis=1) / np.float32(scale)
    scores = raw[:, 4:5] * raw[:, 5:]
    score, class_id = scores.max(axis=1), scores.argmax(axis=1)
    kept: list[int] = []
    for row in np.argsort(-score)[: int((score >= CONFIDENCE).sum())].tolist():
        rivals = [other for other in kept if class_id[other] == class_id[row]]
        if all(_iou(boxes[row], boxes[other]) <= IOU for other in rivals):
            kept.append(row)
    return boxes[kept].clip(0, np.array([width, height, width, height], np.float32)), class_id[kept]


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the overlap of two boxes, 0..1."""
    common = float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))
    return common / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - common)


def test_the_file_keeps_its_contract(session: onnxruntime.InferenceSession) -> None:
    """One static image input, one output with a row per cell, scores between 0 and 1."""
    (images,), (output,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape, images.type) == ("images", [1, 3, HEIGHT, WIDTH], "tensor(float)")
    rows = sum((WIDTH // stride) * (HEIGHT // stride) for stride in STRIDES)
    assert (output.name, output.shape) == ("output", [1, rows, 5 + len(LABELS)])
    noise = np.random.default_rng(0).uniform(0, 255, (1, 3, HEIGHT, WIDTH)).astype(np.float32)
    scores = np.asarray(session.run(["output"], {"images": noise})[0])[0, :, 4:]
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_an_empty_belt_has_no_parts(session: onnxruntime.InferenceSession) -> None:
    """Marks, splice, screws and rails are not taken for parts."""
    image = np.empty((360, 640, 3), np.uint8)
    found = 0
    for seed in range(10):
        Conveyor((640, 360), 25.0, FIRST_SEED + seed, part_rate=0.0).draw(40 * seed, image)
        found += len(_detect(session, image)[1])
    assert found <= 1


@pytest.mark.parametrize("light", [0.75, 1.0, 1.2])
def test_parts_on_unseen_lines_are_found(session: onnxruntime.InferenceSession, light: float) -> None:
    """Nearly every part is found with the right label and half the overlap or more, and little else is."""
    parts = found = right = 0
    for number, wh in enumerate([(640, 360), (1280, 720), (640, 480), (800, 360)]):
        conveyor = Conveyor(wh, 25.0, FIRST_SEED + 100 + number, light=light)
        image = np.empty((wh[1], wh[0], 3), np.uint8)
        for index in range(160, 1000, 140):
            conveyor.draw(index, image)
            truth = conveyor.truth(index)
            boxes, class_id = _detect(session, image)
            parts, found = parts + len(truth.part_id), found + len(boxes)
            open_rows = list(range(len(truth.part_id)))
            for box, label in zip(boxes, class_id.tolist(), strict=True):
                same = [row for row in open_rows if truth.class_id[row] == label]
                hits = [row for row in same if _iou(box, truth.xyxy[row]) >= 0.5]
                if hits:
                    open_rows.remove(hits[0])
                    right += 1
    assert parts > 80
    assert right / parts >= LEAST_RECALL
    assert right / found >= LEAST_PRECISION


def test_the_demo_clip_decodes_to_all_its_frames(session: onnxruntime.InferenceSession) -> None:
    """The clip opens with FFmpeg, has 500 frames of 640x360 at 25 fps, and parts are seen on them."""
    video = cv2.VideoCapture(str(DEMO / "conveyor.mp4"), cv2.CAP_FFMPEG)
    try:
        assert video.get(cv2.CAP_PROP_FPS) == 25
        frames = seen = 0
        while True:
            read, image = video.read()
            if not read:
                break
            assert image.shape == (360, 640, 3)
            if frames % 50 == 0:
                seen += len(_detect(session, np.asarray(image, np.uint8))[1]) > 0
            frames += 1
    finally:
        video.release()
    assert frames == 500
    assert seen >= 9
