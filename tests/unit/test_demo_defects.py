"""Checks that the demo's defect model really sees: pixels of parts and defects on lines never trained on."""

import importlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml
from numpy.typing import NDArray

from edge_vision.capture.conveyor import SURFACES, Conveyor

BUNDLE = Path(__file__).parents[2] / "configs/demo/defects"
WIDTH, HEIGHT = 640, 368
FIRST_SEED = 7_000_000
"""Training seeds lie below 1,000,000."""
LEAST_IOU = {"part": 0.9, "scratch": 0.5, "hole": 0.6, "stain": 0.75}


@pytest.fixture(scope="module", name="session")
def _session() -> onnxruntime.InferenceSession:
    """Load the shipped file on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(BUNDLE / "defects.onnx"), options, providers=["CPUExecutionProvider"])


def _seen(session: onnxruntime.InferenceSession, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of a 640x360 picture belong to each label, from the bundle's contract alone: bool (4, 360, 640)."""
    padded = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    padded[:360] = image
    tensor = ((padded.transpose(2, 0, 1)[None].astype(np.float32)) - 96) / 64
    logits = np.asarray(session.run(["logits"], {"images": tensor})[0])[0]
    return np.stack([cv2.resize(plane, (WIDTH, HEIGHT)) for plane in logits])[:, :360] > 0


def test_the_file_keeps_its_contract(session: onnxruntime.InferenceSession) -> None:
    """One static picture in, a logit per label and 2x2 pixels out, in less than a megabyte."""
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape, images.type) == ("images", [1, 3, HEIGHT, WIDTH], "tensor(float)")
    assert (logits.name, logits.shape) == ("logits", [1, len(SURFACES), HEIGHT // 2, WIDTH // 2])
    assert (BUNDLE / "defects.onnx").stat().st_size < 1_000_000


def test_an_empty_belt_has_no_parts_and_no_defects(session: onnxruntime.InferenceSession) -> None:
    """Marks, splice, screws and rails are not taken for anything: a few pixels of ten pictures at most."""
    image = np.empty((360, 640, 3), np.uint8)
    seen = 0.0
    for seed in range(10):
        Conveyor((640, 360), 25.0, FIRST_SEED + seed, part_rate=0.0).draw(40 * seed, image)
        seen += _seen(session, image).mean()
    assert seen / 10 < 2e-4


def test_pixels_of_parts_and_defects_are_found(session: onnxruntime.InferenceSession) -> None:
    """On lines of usual light, those of each label overlap the true ones; model.yaml has figures of harder ones."""
    image = np.empty((360, 640, 3), np.uint8)
    common, union = np.zeros(len(SURFACES)), np.zeros(len(SURFACES))
    for seed in range(24):
        line = Conveyor((640, 360), 25.0, FIRST_SEED + 100 + seed, defect_rate=0.6, light=0.85 + 0.1 * (seed % 4))
        line.draw(200, image)
        surfaces, seen = line.surfaces(200), _seen(session, image)
        true = np.stack([surfaces > 0, *(surfaces == number for number in range(2, 1 + len(SURFACES)))])
        common += (seen & true).sum(axis=(1, 2))
        union += (seen | true).sum(axis=(1, 2))
    found = dict(zip(SURFACES, (common / union).round(3).tolist(), strict=True))
    print(found)
    assert all(found[name] >= least for name, least in LEAST_IOU.items()), found


def test_the_examination_in_the_bundle_is_good_enough() -> None:
    """What training/defect_segmenter.py measured: 98 % of the held-out parts judged right from one view."""
    evaluation = yaml.safe_load((BUNDLE / "model.yaml").read_text())["evaluation"]
    assert evaluation["accuracy"] >= 0.98
    assert set(evaluation["iou"]) == set(SURFACES)
    judged = evaluation["confusion"]
    right = judged["OK"]["OK"] + sum(judged[kind]["NG"] for kind in SURFACES[1:])
    total = sum(sum(row.values()) for row in judged.values())
    assert total >= 1500
    assert evaluation["accuracy"] == pytest.approx(right / total, abs=0.01)


def test_the_script_that_examines_the_model_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It judges by the product's own rules, on four of its held-out lines: whoever changes those changes the script."""
    monkeypatch.syspath_prepend(str(BUNDLE.parents[2] / "training"))
    exam, scenes = importlib.import_module("defect_exam"), importlib.import_module("defect_scenes")
    marks = exam.examine(BUNDLE / "defects.onnx", scenes.held_out_scenes(4, 2))
    assert marks.images == 8
    assert marks.parts >= 20
    assert marks.accuracy >= 0.9
