"""COCO average precision of the daemon itself, from picture files to JSON lines."""

import contextlib
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import Start


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


def daemon_ap(
    data: Path,
    bundle: Path,
    edge_vision: Start,
    write_site: Callable[..., Path],
    backend: str,
    pictures: str = "coco_det_ccby",
    **more: Any,
) -> tuple[float, float, float]:
    """AP, AP50 and AP75 of a bundle on COCO pictures, through `edge-vision run` on one runtime.

    `pictures` is their folder; classes it has no labels for do not count. `more` are further options of the pipeline.
    Checks that every picture got its message, and from that runtime.
    """
    folder = data / "images" / pictures
    settings = {"model": str(bundle), "confidence": 0.01, "iou": 0.65, "backends": [backend], **more}
    site = write_site(
        cameras=[
            {
                "id": "coco",
                "source": {"kind": "images", "path": str(folder)},
                "pipeline": "object_detection",
                "with": settings,
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
        if item["class"] in category_ids
        for left, top, right, bottom in [item["xyxy"]]
    ]
    return average_precision(folder / "annotations.json", detections)
