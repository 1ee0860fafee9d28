"""Models of faces and codes see what is known to be in real pictures, down the road of the real command."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Start
from face_bundles import write_ultraface, write_yunet
from reading_bundles import write_wechat_qr

Objects = list[dict[str, Any]]

KNOWN = {"face.jpg": 4, "grace_hopper.bmp": 1, "000000009483.jpg": 1, "000000162415.jpg": 1, "000000366141.jpg": 0}
"""Faces that look at the camera, as the eye counts them; nobody's is seen in the last one."""


@pytest.fixture
def look(write_site: Callable[..., Path], tmp_path: Path, edge_vision: Start) -> Callable[..., list[Objects]]:
    """The objects in each of some pictures, as the daemon publishes them."""

    def see(pictures: Iterable[Path], pipeline: str, settings: dict[str, Any]) -> list[Objects]:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, file in enumerate(pictures):
            (folder / f"{number:03d}{file.suffix}").symlink_to(file)
        source = {"kind": "images", "path": str(folder)}
        camera = {"id": "cam", "source": source, "pipeline": pipeline, "with": settings}
        process: subprocess.Popen[str] = edge_vision(
            "run", write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}])
        )
        output, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        messages = [json.loads(line) for line in output.splitlines()]
        return [one["objects"] for one in messages if one["kind"] == "detections"]

    return see


def _faces(data: Path) -> list[Path]:
    return [next((data / "images").rglob(name)) for name in KNOWN]


def _people(data: Path, name: str) -> np.ndarray[Any, Any]:
    """(n, 17, 3): COCO's keypoints of everybody in a picture whose nose and eyes are seen."""
    known = json.loads((data / "images/coco_person_kpt_ccby/annotations.json").read_text())
    number = next(one["id"] for one in known["images"] if one["file_name"] == name)
    people = [one["keypoints"] for one in known["annotations"] if one["image_id"] == number]
    points = np.array(people, float).reshape(-1, 17, 3)
    return points[(points[:, :3, 2] > 0).all(axis=1)]


@pytest.mark.parametrize(
    "write, settings",
    [
        (lambda folder, data: write_ultraface(folder, data, "onnx decoded"), {"backends": ["onnxruntime"]}),
        (lambda folder, data: write_ultraface(folder, data, "onnx raw"), {"backends": ["opencv_dnn"]}),
        (write_yunet, {"backends": ["onnxruntime"]}),
        (write_yunet, {"backends": ["openvino"]}),
    ],
    ids=["ultraface-onnx", "ultraface-raw-opencv", "yunet-onnx", "yunet-openvino"],
)
def test_the_faces_that_people_see_are_found(
    write: Callable[[Path, Path], Path],
    settings: dict[str, Any],
    data: Path,
    tmp_path: Path,
    look: Callable[..., list[Objects]],
) -> None:
    """As many as counted by eye, none where there is none; nose and eyes, where COCO marks them, lie in the box."""
    model = write(tmp_path / "model", data)
    seen = look(_faces(data), "object_detection", {"model": str(model), "confidence": 0.9, **settings})
    assert [len(objects) for objects in seen] == list(KNOWN.values())
    for name, objects in list(zip(KNOWN, seen, strict=True))[2:4]:
        (person,) = _people(data, name)
        left, top, right, bottom = objects[0]["xyxy"]
        for x, y, _ in person[:3]:
            assert left < x < right, name
            assert top < y < bottom, name
        if "keypoints" in objects[0]:
            # YuNet's input has 160 columns: one is 4 pixels here, and a third of the distance of the eyes is about one.
            points = np.array(objects[0]["keypoints"])
            assert points.shape == (5, 3)
            nose, left_eye, right_eye = person[:3, :2]
            off = np.linalg.norm(points[:3, :2] - np.array([right_eye, left_eye, nose]), axis=1)
            assert off.mean() < np.linalg.norm(left_eye - right_eye) / 3, name
    assert ("keypoints" in seen[0][0]) == ("yunet" in model.joinpath("model.yaml").read_text())


CODES_ON_OBJECTS = {
    "version": 1,
    "stages": [
        {"kind": "detect"},
        {"kind": "barcode", "within": "objects", "kinds": ["qr"], "margin": 0.2, "votes": 1, "effort": "medium"},
    ],
    "expose": {"model": "detect.model"},
}


def test_wechats_detector_finds_every_qr_code_and_the_stage_reads_on_its_boxes(
    data: Path, tmp_path: Path, look: Callable[..., list[Objects]]
) -> None:
    """56 pictures with a QR code in each, and 12 of people; 36 are read, where plain OpenCV reads 15."""
    (tmp_path / "codes.yaml").write_text(yaml.safe_dump(CODES_ON_OBJECTS))
    model = write_wechat_qr(tmp_path / "model", data)
    with_code = [file for file in sorted((data / "barcode/qrcode-2").iterdir()) if file.suffix != ".txt"]
    without = sorted((data / "images/coco_person_kpt_ccby").glob("*.jpg"))
    assert len(with_code) == 56
    seen = look([*with_code, *without], "codes", {"model": str(model)})
    assert len(seen) == 68
    found = [[one for one in objects if one["class"] == "code"] for objects in seen]
    assert all(found[:56])
    assert not any(found[56:])
    read = 0
    for file, objects in zip(with_code, seen, strict=False):
        known = file.with_suffix(".txt").read_bytes().decode("utf-8").replace("\r\n", "\n")
        texts = [one["text"].replace("\r\n", "\n") for one in objects if one["class"] == "qr"]
        read += known in texts
        for one in objects:
            if one["class"] == "qr":
                assert one["class_id"] == 1
                assert len(one["quad"]) == 4
    print(f"found {sum(map(bool, found))} of 56, read {read}")
    assert read >= 36
