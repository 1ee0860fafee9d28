"""`edge-vision models eval`: the known average precision on every runtime, and what it says when it cannot."""

import json
from pathlib import Path

import pytest
from conftest import Start


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
