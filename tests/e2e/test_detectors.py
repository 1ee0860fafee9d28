"""Detectors have the AP of plain decoders through the road; those of ONNX files reproduce known answers exactly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from accuracy import average_precision, daemon_ap
from bundles import write_fastestdet, write_nanodet, write_pedestrians, write_yolo_fastest, write_yolox
from conftest import Start
from inside import Layout, write_end2end
from numpy.typing import NDArray
from plain import Found, around, as_annotations, best_of, clipped, fastestdet, nanodet, suppressed

from edge_vision.core.plugin import require

Decode = Callable[[NDArray[np.uint8], Callable[[NDArray[np.float32]], dict[str, Any]]], list[Found]]

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
LEAST = 0.05
"""The confidence of the reference, as expected/detection_ap.json says."""
DIGITS = 5e-5
"""Known answers are given to four digits."""
ROUNDED = 0.0005
"""Messages carry rounded boxes, and one that moves past one of the ten overlaps that count moves the AP."""
NEAR = 0.002
"""Another runtime rounds differently inside the network, too."""


def _nanodet(image: NDArray[np.uint8], infer: Callable[[NDArray[np.float32]], dict[str, Any]]) -> list[Found]:
    height, width = image.shape[:2]
    scale = min(320 / width, 320 / height)
    inner = int(width * scale), int(height * scale)
    left, top = (320 - inner[0]) // 2, (320 - inner[1]) // 2
    canvas = np.zeros((320, 320, 3), np.float32)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
    canvas = (canvas - np.array([103.53, 116.28, 123.675])) / np.array([57.375, 57.12, 58.395])
    outputs = infer(canvas.transpose(2, 0, 1)[None].astype(np.float32))
    strides = (8, 16, 32)
    scores = [outputs[f"cls_pred_stride_{stride}"][0] for stride in strides]
    distances = [outputs[f"dis_pred_stride_{stride}"][0] for stride in strides]
    found = nanodet(scores, distances, strides, 320, "pixel")
    shift, best = (left, top, left, top), suppressed([one for one in found if one.score >= LEAST], 0.6)
    return [one._replace(box=tuple((v - s) / scale for v, s in zip(one.box, shift, strict=True))) for one in best]


def _fastestdet(image: NDArray[np.uint8], infer: Callable[[NDArray[np.float32]], dict[str, Any]]) -> list[Found]:
    resized = cv2.resize(image, (352, 352), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    (raw,) = infer(resized.transpose(2, 0, 1)[None]).values()
    found = fastestdet(raw[0], (image.shape[1], image.shape[0]))
    return suppressed([one for one in found if one.score >= LEAST], 0.45)


@pytest.mark.parametrize(
    "write, decode, name, iou",
    [
        pytest.param(write_nanodet, _nanodet, "nanodet_m_320.onnx", 0.6, id="nanodet"),
        pytest.param(write_fastestdet, _fastestdet, "FastestDet.onnx", 0.45, id="fastestdet"),
    ],
)
def test_a_detector_has_the_ap_of_its_reference(
    write: Callable[[Path, Path, list[str]], Path],
    decode: Decode,
    name: str,
    iou: float,
    data: Path,
    tmp_path: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """A plain decoder gives the known figures to the digit; the daemon gives those of its boxes inside the picture.

    The known figures are of boxes that reach beyond the picture, where no label is: cutting them helps FastestDet.
    """
    bundle = write(tmp_path / "bundle", data, coco_labels)
    for pictures, key, backends in (
        ("coco_det_ccby", "coco_det_ccby AP,AP50,AP75", ("onnxruntime", "openvino")),
        ("coco_person_kpt_ccby", "coco_person_kpt_ccby person AP,AP50,AP75", ("onnxruntime",)),
    ):
        folder = data / "images" / pictures
        truth = json.loads((folder / "annotations.json").read_text())
        found, sizes = _plain(folder, truth, next(bundle.glob("*.onnx")), decode)
        categories = {category["name"]: category["id"] for category in truth["categories"]}
        ids = [categories.get(label) for label in coco_labels]
        known = json.loads((data / "expected/detection_ap.json").read_text())["ap"][name][key]
        reference = average_precision(folder / "annotations.json", as_annotations(found, ids, None))
        assert reference == pytest.approx(known, abs=DIGITS)
        inside = average_precision(folder / "annotations.json", as_annotations(found, ids, sizes))
        for backend in backends:
            measured = daemon_ap(data, bundle, edge_vision, write_site, backend, pictures, confidence=LEAST, iou=iou)
            print(
                f"{name} on {backend}, {pictures}: {[round(one, 4) for one in measured]}, plain {inside}, known {known}"
            )
            assert measured == pytest.approx(inside, abs=ROUNDED if backend == "onnxruntime" else NEAR)


def test_pedestrians_have_the_ap_of_a_plain_decoder(
    data: Path, tmp_path: Path, edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """The person AP of an IR in f16, whose output is decoded already: rows of 7, in 0..1, ended by image -1."""
    openvino: Any = require("openvino", "openvino")  # without its telemetry

    bundle, pictures = write_pedestrians(tmp_path / "bundle", data), "coco_person_kpt_ccby"
    folder = data / "images" / pictures
    core = openvino.Core()
    network = core.compile_model(core.read_model(str(next(bundle.glob("*.xml")))), "CPU", F32).create_infer_request()
    found: dict[int, list[Found]] = {}
    for image in json.loads((folder / "annotations.json").read_text())["images"]:
        picture: Any = cv2.imread(str(folder / image["file_name"]))
        height, width = picture.shape[:2]
        tensor = cv2.resize(picture, (672, 384)).transpose(2, 0, 1)[None].astype(np.float32)
        found[image["id"]] = []
        for number, kind, score, left, top, right, bottom in network.infer(tensor)[0].reshape(-1, 7).tolist():
            if number < 0:
                break
            if kind == 1 and score >= LEAST:
                box = clipped((left * width, top * height, right * width, bottom * height), (width, height))
                found[image["id"]].append(Found(score, 0, box))
    known = average_precision(folder / "annotations.json", as_annotations(found, [1], None))
    measured = daemon_ap(data, bundle, edge_vision, write_site, "openvino", pictures, confidence=LEAST)
    print(f"pedestrians: {[round(one, 4) for one in measured]}, plain {[round(one, 4) for one in known]}")
    assert measured == pytest.approx(known, abs=ROUNDED)
    assert known[1] > 0.5  # it is a detector of people, and sees half of them


def test_yolo_fastest_has_the_ap_of_its_reference(
    data: Path, tmp_path: Path, coco_labels: list[str], edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """Darknet's own files: the layers as OpenCV 4 gives them, rows of a box in 0..1, objectness and classes."""
    bundle = write_yolo_fastest(tmp_path / "bundle", data, coco_labels)
    network = cv2.dnn.readNetFromDarknet(str(next(bundle.glob("*.cfg"))), str(next(bundle.glob("*.weights"))))
    names = network.getUnconnectedOutLayersNames()
    known = json.loads((data / "expected/detection_ap.json").read_text())["ap"]["yolo-fastest-1.1 darknet (cv2 4.14)"]
    for pictures, key in (
        ("coco_det_ccby", "coco_det_ccby AP,AP50,AP75"),
        ("coco_person_kpt_ccby", "coco_person_kpt_ccby person AP,AP50,AP75"),
    ):
        folder = data / "images" / pictures
        truth = json.loads((folder / "annotations.json").read_text())
        found, sizes = {}, {}
        for image in truth["images"]:
            picture: Any = cv2.imread(str(folder / image["file_name"]))
            height, width = picture.shape[:2]
            network.setInput(cv2.dnn.blobFromImage(picture, 1 / 255, (320, 320), swapRB=True))
            rows = [row for layer in network.forward(names) for row in layer.tolist()]
            seen = [
                Found(*best_of(row[5:]), around(row[0] * width, row[1] * height, row[2] * width, row[3] * height))
                for row in rows
            ]
            sizes[image["id"]] = (width, height)
            found[image["id"]] = suppressed([one for one in seen if one.score >= LEAST], 0.45)
        categories = {category["name"]: category["id"] for category in truth["categories"]}
        ids = [categories.get(label) for label in coco_labels]
        reference = average_precision(folder / "annotations.json", as_annotations(found, ids, None))
        inside = average_precision(folder / "annotations.json", as_annotations(found, ids, sizes))
        measured = daemon_ap(data, bundle, edge_vision, write_site, "opencv_dnn", pictures, confidence=LEAST, iou=0.45)
        print(f"yolo_fastest, {pictures}: {measured}, plain {inside}, {reference}, known {known[key]}")
        assert reference == pytest.approx(known[key], abs=DIGITS)
        assert measured == pytest.approx(inside, abs=ROUNDED)


@pytest.mark.parametrize("layout, backend", [("one", "onnxruntime"), ("one", "openvino"), ("four", "onnxruntime")])
def test_a_network_that_suppresses_doubles_itself_has_the_same_ap(
    layout: Layout,
    backend: str,
    data: Path,
    tmp_path: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """YOLOX-nano with decoder and suppression in its graph: a list of any length, or four outputs of 300 rows."""
    bundle = write_yolox(tmp_path / "bundle", data, coco_labels, "onnx")
    weights = bundle / "yolox_nano.onnx"
    write_end2end(data / "models/yolox_nano/yolox_nano.onnx", weights, layout, least=0.01, iou=0.65)
    content = yaml.safe_load((bundle / "model.yaml").read_text())
    names = {"boxes": "det_boxes", "scores": "det_scores", "classes": "det_classes", "count": "num_dets"}
    content["output"] = {"format": "end2end", **(names if layout == "four" else {})}
    (bundle / "model.yaml").write_text(yaml.safe_dump(content))
    measured = daemon_ap(data, bundle, edge_vision, write_site, backend)
    expected = json.loads((data / "expected/detection_ap.json").read_text())["ap"]["yolox_nano.onnx"]
    known = expected["coco_det_ccby AP,AP50,AP75"]
    print(f"end2end, {layout}, on {backend}: {[round(one, 4) for one in measured]}, known {known}")
    assert measured == pytest.approx(known, abs=NEAR)


def _plain(
    folder: Path, truth: dict[str, Any], file: Path, decode: Decode
) -> tuple[dict[int, list[Found]], dict[int, tuple[int, int]]]:
    """What a plain decoder finds in each picture, by its id, and the sizes of the pictures."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def infer(tensor: NDArray[np.float32]) -> dict[str, Any]:
        return dict(zip(names, session.run(names, {session.get_inputs()[0].name: tensor}), strict=True))

    found, sizes = {}, {}
    for image in truth["images"]:
        picture: Any = cv2.imread(str(folder / image["file_name"]))
        sizes[image["id"]] = (picture.shape[1], picture.shape[0])
        found[image["id"]] = decode(picture, infer)
    return found, sizes
