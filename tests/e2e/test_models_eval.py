"""`edge-vision models eval`: the known average precision on every runtime, and what it says when it cannot."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import write_road, write_vww
from commands import models
from conftest import Start

from edge_vision.core.plugin import require


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "opencv_dnn"])
def test_yolox_nano_has_its_known_average_precision(backend: str, data: Path, yolox: Path, edge_vision: Start) -> None:
    """AP, AP50, AP75 as the reference decoder and pycocotools computed them."""
    folder = data / "images/coco_det_ccby"
    annotations = folder / "annotations.json"
    process = edge_vision(
        *("models", "eval", yolox, "--coco", annotations, "--images", folder),
        *("--backend", backend, "--iou", "0.65", "--json"),
    )
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    facts = json.loads(output)
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    reference = expected["ap"]["yolox_nano.onnx"]["coco_det_ccby AP,AP50,AP75"]
    assert (facts["backend"], facts["images"], facts["confidence"], facts["iou"]) == (backend, 13, 0.01, 0.65)
    assert list(facts["figures"].values()) == pytest.approx(reference, abs=0.0005)


def test_the_figures_come_as_a_sentence_too(data: Path, yolox: Path, edge_vision: Start) -> None:
    """With the pictures that were left out; a higher threshold costs precision."""
    folder = data / "images/coco_det_ccby"
    process = edge_vision(
        *("models", "eval", yolox, "--coco", data / "images/coco_person_kpt_ccby/annotations.json"),
        *("--images", folder, "--confidence", "0.5"),
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 78, output
    assert "knows none of the 13 pictures" in errors
    process = edge_vision(
        *("models", "eval", yolox, "--coco", folder / "annotations.json", "--images", folder, "--confidence", "0.5")
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert output.startswith("yolox_nano: AP 0.1")
    assert "13 pictures, confidence from 0.5" in output


@pytest.fixture(scope="module")
def sorted_pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with people, and one of pictures without."""
    folder = tmp_path_factory.mktemp("classes")
    for name, pictures in (
        ("person", sorted((data / "images/coco_person_kpt_ccby").glob("*.jpg"))),
        ("no person", sorted((data / "images/text").glob("*.jpg"))),
    ):
        (folder / name).mkdir()
        for file in pictures:
            (folder / name / file.name).symlink_to(file)
    return folder


def test_a_classifier_is_measured_by_what_it_sorts_rightly(data: Path, sorted_pictures: Path, tmp_path: Path) -> None:
    """As TFLite's own interpreter sorts them, from a folder per class as from a CSV file."""
    library: Any = require("ai_edge_litert.interpreter", "litert")
    bundle = write_vww(tmp_path / "bundle", data, "float")
    plain = library.Interpreter(str(bundle / "vww_96_float.tflite"))
    plain.allocate_tensors()
    expected: dict[str, dict[str, int]] = {}
    (tmp_path / "pictures").mkdir()
    rows = ["file,class"]
    for file in sorted(sorted_pictures.glob("*/*")):
        label = file.parent.name
        rows.append(f"{file.name},{label}")
        (tmp_path / "pictures" / file.name).symlink_to(file)
        image: Any = cv2.imread(str(file))
        tensor = cv2.cvtColor(cv2.resize(image, (96, 96)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        plain.set_tensor(plain.get_input_details()[0]["index"], tensor[None])
        plain.invoke()
        taken = ("no person", "person")[int(plain.get_tensor(plain.get_output_details()[0]["index"])[0].argmax())]
        expected.setdefault(label, {}).setdefault(taken, 0)
        expected[label][taken] += 1
    done = models("eval", bundle, "--classes", sorted_pictures, "--json", "--backend", "litert")
    assert done.code == 0, done.errors
    facts = json.loads(done.output)
    assert facts["confusion"] == expected
    right = sum(counts.get(label, 0) for label, counts in expected.items())
    assert (facts["images"], facts["right"], facts["near"], len(facts["wrong"])) == (14, right, 14, 14 - right)
    assert 0 < right < 14
    (tmp_path / "labels.csv").write_text("\n".join(rows[:1] + [row for row in rows[1:] if row.endswith(",person")]))
    done = models("eval", bundle, "--classes", tmp_path / "labels.csv", "--images", tmp_path / "pictures")
    assert done.code == 0, done.errors
    people = expected["person"]["person"]
    assert f": {people} of 12 sorted rightly, 12 have their class among the best five" in done.output
    assert done.output.count(": taken for no person, is person") == 12 - people
    assert "left out: 2 pictures" in done.output


def test_what_does_not_measure_a_model_is_refused(data: Path, sorted_pictures: Path, tmp_path: Path) -> None:
    """An AP of 0 would be a lie about a classifier, and so would a share of sorted pictures about a detector."""
    annotations = data / "images/coco_det_ccby/annotations.json"
    vww = write_vww(tmp_path / "vww", data, "float")
    road = write_road(tmp_path / "road", data)
    boxes = ("--coco", annotations, "--images", annotations.parent)
    for bundle, truth, words in (
        (vww, boxes, "gives class: labeled boxes do not measure that; --classes does"),
        (road, boxes, "gives box and class and mask: labeled boxes do not measure that"),
        (road, ("--classes", sorted_pictures), "gives box and class and mask: it does not sort whole pictures"),
        (vww, ("--classes", data / "images"), " is no label of the model"),
        (vww, ("--classes", tmp_path / "vww"), "holds no folders with pictures, named like the classes"),
        (vww, ("--classes", tmp_path / "vww/model.yaml"), "with a CSV file say with --images where the pictures are"),
        (vww, ("--classes", data / "images/plates_crop/labels.csv", "--images", sorted_pictures / "person"),
         "labels.csv:1: needs the columns file and class (or label), has "),
    ):  # fmt: skip
        done = models("eval", bundle, *truth)
        assert (done.code, done.output) == (78, "")
        assert words in done.errors


def _other_labels(folder: Path) -> tuple[str, ...]:
    (folder / "other.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "washer"}]})
    )
    return ("--coco", str(folder / "other.json"))


@pytest.mark.parametrize(
    "changed, words, code",
    [
        (("--coco", "absent.json"), "absent.json: no such file", 78),
        (("--coco", "{data}/images/misc/dog.jpg"), "dog.jpg: is not JSON", 78),
        (("--coco", "{data}/expected/plates.json"), "is not a COCO annotation file", 78),
        (("--coco", "other"), "has none of the model's labels; it has washer", 78),
        (("--images", "absent"), "absent: no such folder", 78),
        (("--images", "{data}/models"), "holds no picture", 78),
        (("--backend", "caffe"), "invalid choice: 'caffe'", 2),
        (("--confidence", "2"), "must be a number from 0 to 1, not '2'", 2),
        (("--precision", "int8"), "no runtime can serve it with precision int8", 78),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    changed: tuple[str, ...], words: str, code: int, data: Path, yolox: Path, edge_vision: Start, tmp_path: Path
) -> None:
    """Named with its value and the limit; never a traceback."""
    folder = data / "images/coco_det_ccby"
    if changed[1] == "other":
        changed = _other_labels(tmp_path)
    arguments = ["--coco", str(folder / "annotations.json"), "--images", str(folder)]
    arguments += [word.format(data=data) for word in changed]
    process = edge_vision("models", "eval", yolox, *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, output + errors
    assert words in errors
    assert "Traceback" not in errors
