"""COCO average precision through the project's own road, on every runtime, against the known answer."""

import contextlib
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Start

BACKENDS = ("onnxruntime", "openvino", "opencv_dnn")
TOLERANCE = 0.002


def average_precision(annotations: Path, detections: list[dict[str, Any]]) -> tuple[float, float, float]:
    """AP, AP50 and AP75 as pycocotools computes them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        judge = COCOeval(truth, truth.loadRes(detections), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return tuple(float(value) for value in judge.stats[:3])  # type: ignore[return-value]


@pytest.mark.parametrize("backend", BACKENDS)
def test_ap_of_yolox_nano_is_the_reference_ap(
    backend: str, data: Path, yolox: Path, edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """The daemon itself, from picture files to JSON lines: AP, AP50, AP75 within 0.002 of expected/."""
    folder = data / "images/coco_det_ccby"
    site = write_site(
        cameras=[
            {
                "id": "coco",
                "source": {"kind": "images", "path": str(folder)},
                "pipeline": "object_detection",
                "with": {"model": str(yolox), "confidence": 0.01, "iou": 0.65, "backends": [backend]},
            }
        ],
        publish=[{"kind": "jsonl", "path": "-"}],
    )
    output, _ = edge_vision("run", site, stderr=subprocess.DEVNULL).communicate(timeout=90)
    messages = [json.loads(line) for line in output.splitlines()]
    annotations = json.loads((folder / "annotations.json").read_text())
    image_ids = {image["file_name"]: image["id"] for image in annotations["images"]}
    category_ids = {category["name"]: category["id"] for category in annotations["categories"]}
    names = sorted(file.name for file in folder.glob("*.jpg"))
    assert [message["frame"]["index"] for message in messages] == list(range(len(names)))
    assert {message["model"]["backend"] for message in messages} == {backend}
    detections = [
        {
            "image_id": image_ids[names[message["frame"]["index"]]],
            "category_id": category_ids[item["class"]],
            "bbox": [left, top, right - left, bottom - top],
            "score": item["confidence"],
        }
        for message in messages
        for item in message["objects"]
        for left, top, right, bottom in [item["xyxy"]]
    ]
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    reference = expected["ap"]["yolox_nano.onnx"]["coco_det_ccby AP,AP50,AP75"]
    measured = average_precision(folder / "annotations.json", detections)
    print(f"{backend}: AP, AP50, AP75 {[round(value, 4) for value in measured]}, reference {reference}")
    assert measured == pytest.approx(reference, abs=TOLERANCE)
