"""The gate: a model that was changed on its way is refused, with the figure that gave it away; others serve."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import models, verify
from networks import with_brightness, with_coarse_boxes

STRICT = {"score_diff": 0.02, "mean_iou": 0.99, "point_error": 0.01, "missed": 0.0, "extra": 0.0, "quality": 0.98}


Change = Callable[[dict[str, Any], Path], None]


@pytest.fixture(name="changed")
def _changed(golden_yolox: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Copies the bundle and changes what its model.yaml says, or its files."""

    def change(how: Change) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(golden_yolox, folder)
        content = yaml.safe_load((folder / "model.yaml").read_text())
        how(content, folder)
        (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return folder

    return change


def _input(**values: Any) -> Change:
    return lambda content, _folder: content["input"].update(values)


@pytest.mark.parametrize(
    "change, levels",
    [
        (_input(color="rgb"), 100.0),
        (_input(anchor="center"), 100.0),
        (_input(mean=[30.0, 30.0, 30.0]), 29.9),
        (_input(scale=1 / 255), 250.0),
        (_input(std=[1.02, 1.02, 1.02]), 4.9),
        (_input(resize="stretch"), 100.0),
        (_input(pad_value=0), 113.0),
    ],
    ids=["colors", "anchor", "mean", "scale", "std", "stretch", "rim"],
)
def test_a_wrong_input_section_is_refused_on_every_runtime(
    change: Change, levels: float, changed: Callable[[Change], Path]
) -> None:
    """The input tensor gives it away, by gray levels, before any output is looked at."""
    code, rows = verify(changed(change))
    assert code == 1
    assert {row["backend"] for row in rows if row["file"]} >= {"openvino", "onnxruntime", "opencv_dnn"}
    for row in (row for row in rows if row["file"]):
        assert not row["passed"]
        assert row["reason"].startswith("preprocess: the input tensor of ")
        assert row["verdict"]["tensor_levels"] >= levels
        print(row["backend"], row["reason"])


def test_int8_with_right_scores_and_wrecked_boxes_is_refused(changed: Callable[[Change], Path]) -> None:
    """The scores are equal to the last digit; the overlap of the boxes gives it away."""

    def quantize(content: dict[str, Any], folder: Path) -> None:
        with_coarse_boxes(folder / "yolox_nano.onnx", folder / "coarse.onnx", step=0.5)
        content["files"] = [{"path": "coarse.onnx", "format": "onnx", "precision": "int8"}]

    code, rows = verify(changed(quantize), "--backend", "onnxruntime")
    assert code == 1
    (row,) = rows
    agreement = row["verdict"]["agreement"]
    assert agreement["score_diff"] < 0.001
    assert agreement["missed"] == 0
    assert agreement["mean_iou"] < 0.8
    assert "mean overlap 0.7" in row["reason"]
    print(row["reason"])


def test_a_layer_that_opencv_computes_wrongly_is_refused_there_and_only_there(
    data: Path, changed: Callable[[Change], Path]
) -> None:
    """A mean over three axes: the other runtimes pass with the same golden data."""

    def even(content: dict[str, Any], folder: Path) -> None:
        with_brightness(folder / "yolox_nano.onnx", folder / "even.onnx")
        content["files"] = [{"path": "even.onnx", "format": "onnx"}]

    folder = changed(even)
    pictures = data / "images/coco_det_ccby"
    made = models("golden", folder, "--images", pictures, "--labels", pictures / "annotations.json", "--most", "13")
    assert made.code == 0, made.errors
    code, rows = verify(folder)
    judged = {row["backend"]: row for row in rows if row["file"]}
    assert code == 1
    assert judged["onnxruntime"]["passed"]
    assert judged["openvino"]["passed"]
    assert judged["opencv_dnn"]["reason"].startswith("runtime: sees something else at f32: score difference 0.0")
    print(judged["opencv_dnn"]["reason"])


def test_bf16_is_refused_where_the_tolerance_forbids_it(changed: Callable[[Change], Path]) -> None:
    """The same runtime passes at f32, and at bf16 with the tolerance of bf16."""
    strict = changed(lambda content, _folder: content.update(parity={"bf16": STRICT}))
    code, (row, *_) = verify(strict, "--backend", "openvino", "--precision", "bf16")
    if "the CPU plugin chose" in row["reason"]:
        pytest.skip(f"this processor has no bf16: {row['reason']}")
    assert code == 1
    assert "sees something else at bf16" in row["reason"]
    assert row["verdict"]["agreement"]["score_diff"] > STRICT["score_diff"]
    print(row["reason"])
    assert verify(strict, "--backend", "openvino", "--precision", "f32")[0] == 0
    (strict / "model.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load((strict / "model.yaml").read_text()), "parity": {}})
    )
    assert verify(strict, "--backend", "openvino", "--precision", "bf16")[0] == 0


def test_names_and_the_order_of_keys_change_nothing(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    """A renamed bundle in a renamed folder with every key in another place passes on every runtime."""

    def turn(content: dict[str, Any], _folder: Path) -> None:
        content["name"] = "renamed"
        turned = _turned(content)
        content.clear()
        content.update(turned)

    folder = changed(turn).rename(tmp_path / "elsewhere")
    code, rows = verify(folder)
    assert code == 0
    judged = [row for row in rows if row["file"]]
    assert {row["backend"] for row in judged} >= {"openvino", "onnxruntime", "opencv_dnn"}
    assert all(row["passed"] for row in judged)
    for row in judged:
        agreement = row["verdict"]["agreement"]
        print(row["backend"], row["file"], agreement["found"], agreement["quality"], agreement["score_diff"])


@pytest.mark.parametrize("swapped", [True, False])
def test_a_label_may_be_renamed_but_not_moved(swapped: bool, changed: Callable[[Change], Path]) -> None:
    """Boxes and scores are the same when persons are called bicycles: only the names give it away."""

    def change(content: dict[str, Any], folder: Path) -> None:
        del folder
        labels = content["labels"]
        labels[:2] = labels[1::-1] if swapped else ["Mensch", "Fahrrad"]

    code, rows = verify(changed(change), "--backend", "onnxruntime")
    assert code == int(swapped)
    said = "labels: bicycle is class 0, and was class 1 when the golden data were made" if swapped else ""
    assert rows[0]["reason"] == said


def _turned(value: Any) -> Any:
    """The same content with every mapping's keys the other way round."""
    if isinstance(value, Mapping):
        return {key: _turned(value[key]) for key in reversed(list(value))}
    return [_turned(item) for item in value] if isinstance(value, list) else value


def _site(write_site: Callable[..., Path], data: Path, bundle: Path, **settings: Any) -> Path:
    camera = {
        "id": "coco",
        "source": {"kind": "images", "path": str(data / "images/coco_det_ccby")},
        "pipeline": "object_detection",
        "with": {"model": str(bundle), **settings},
    }
    return write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}])


def test_the_daemon_serves_on_the_next_runtime_that_passes(
    data: Path, changed: Callable[[Change], Path], edge_vision: Any, write_site: Callable[..., Path]
) -> None:
    """OpenCV DNN is asked first and refused by its figures; ONNX Runtime answers, and the log says why."""

    def even(content: dict[str, Any], folder: Path) -> None:
        with_brightness(folder / "yolox_nano.onnx", folder / "even.onnx")
        content["files"] = [{"path": "even.onnx", "format": "onnx"}]

    folder = changed(even)
    assert models("golden", folder, "--images", data / "images/coco_det_ccby", "--most", "13").code == 0
    site = _site(write_site, data, folder, backends=["opencv_dnn", "onnxruntime"])
    output, log = edge_vision("run", site).communicate(timeout=90)
    assert {json.loads(line)["model"]["backend"] for line in output.splitlines()} == {"onnxruntime"}
    assert "opencv_dnn passed over: runtime: sees something else at f32: score difference 0.0" in log
    assert "prove only that runtimes agree" in log


def test_a_model_that_no_runtime_shows_rightly_does_not_start(
    data: Path, changed: Callable[[Change], Path], edge_vision: Any, write_site: Callable[..., Path]
) -> None:
    """Exit 78 with every candidate and its figure; no frame was analyzed. A second start says the same."""
    site = _site(write_site, data, changed(_input(color="rgb")), backends=["openvino", "onnxruntime", "opencv_dnn"])
    for _ in range(2):
        process = edge_vision("run", site)
        output, log = process.communicate(timeout=90)
        assert process.returncode == 78
        assert output == ""
        assert "Traceback" not in log
        for name in ("openvino", "onnxruntime", "opencv_dnn"):
            assert f"  {name}: preprocess: the input tensor of " in log


def test_check_says_what_the_golden_data_prove(
    data: Path, yolox: Path, golden_yolox: Path, changed: Callable[[Change], Path], write_site: Callable[..., Path]
) -> None:
    """Verified against labels, made without ground truth, or not there at all."""
    plain = changed(lambda _content, folder: shutil.rmtree(folder / "golden"))
    assert models("golden", plain, "--images", data / "images/coco_det_ccby", "--most", "2").code == 0
    for bundle, words in ((yolox, "no golden data"), (plain, "unverified golden"), (golden_yolox, "verified golden")):
        command = [sys.executable, "-m", "edge_vision", "check", str(_site(write_site, data, bundle))]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert f"model yolox_nano: {words}" in done.stdout


def test_damaged_golden_data_are_refused(changed: Callable[[Change], Path]) -> None:
    """A picture that is not what was written: named, with both checksums, and nothing passes."""

    def damage(_content: dict[str, Any], folder: Path) -> None:
        picture = folder / "golden/000.png"
        picture.write_bytes(picture.read_bytes()[:-100] + bytes(100))

    folder = changed(damage)
    code, rows = verify(folder, "--backend", "onnxruntime")
    assert code == 1
    assert f"{folder}/golden/000.png has sha256 " in rows[0]["reason"]


def test_labels_that_contradict_the_input_section_make_no_golden_data(
    data: Path, changed: Callable[[Change], Path]
) -> None:
    """With the colors swapped the model sees less than without: it is said, and the golden data stay as they were."""
    folder = changed(_input(color="rgb"))
    before = sorted((file.name, file.stat().st_size) for file in (folder / "golden").iterdir())
    pictures = data / "images/coco_det_ccby"
    done = models("golden", folder, "--images", pictures, "--labels", pictures / "annotations.json")
    assert done.code == 78
    assert "with color: bgr the model sees more (AP 0.257) than as model.yaml has it (AP 0.241)" in done.errors
    assert sorted((file.name, file.stat().st_size) for file in (folder / "golden").iterdir()) == before


def test_a_right_input_section_is_not_doubted_for_a_few_pictures(data: Path, changed: Callable[[Change], Path]) -> None:
    """Twelve pictures of standing people, which a stretched input happens to suit better (AP .516 against .467)."""
    pictures = data / "images/coco_person_kpt_ccby"
    folder = changed(lambda _content, _folder: None)
    done = models("golden", folder, "--images", pictures, "--labels", pictures / "annotations.json")
    assert (done.code, "AP 0.467" in done.output) == (0, True), done.errors


def test_golden_data_that_cannot_be_written_are_an_error_not_a_traceback(
    data: Path, changed: Callable[[Change], Path]
) -> None:
    """Something else has the name of the folder they are put together in."""

    def block(_content: dict[str, Any], folder: Path) -> None:
        (folder / ".golden.new").write_text("in the way")

    folder = changed(block)
    done = models("golden", folder, "--images", data / "images/coco_det_ccby")
    assert done.code == 78
    assert f"{folder}/golden: cannot be written: " in done.errors
    assert "Traceback" not in done.errors


def test_what_the_training_framework_saw_verifies_too(
    data: Path, changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    """The detections another tool published for a picture; one that the model does not see is refused."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copyfile(data / "images/misc/dog.jpg", pictures / "dog.jpg")
    known = json.loads((data / "expected/dog_detections.json").read_text())["yolox_nano.onnx"]
    objects = [{"class": one["label"], "confidence": one["score"], "xyxy": one["xyxy"]} for one in known]
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps({"dog.jpg": objects}))
    folder = changed(lambda _content, folder: shutil.rmtree(folder / "golden"))
    done = models("golden", folder, "--images", pictures, "--expected", expected)
    assert done.code == 0, done.errors
    assert "verified against expected.json: " in done.output
    print(done.output)
    objects.append({"class": "zebra", "confidence": 0.9, "xyxy": [10, 10, 100, 100]})
    expected.write_text(json.dumps({"dog.jpg": objects}))
    done = models("golden", folder, "--images", pictures, "--expected", expected)
    assert done.code == 78
    assert "1 missed beside" in done.errors


def test_a_file_that_one_runtime_cannot_load_is_no_failure_beside_one_that_it_can(
    changed: Callable[[Change], Path],
) -> None:
    """As in the daemon: the next file serves. Where no other is there, it fails."""

    def add(content: dict[str, Any], folder: Path) -> None:
        (folder / "broken.onnx").write_bytes(b"not a network")
        content["files"].insert(0, {"path": "broken.onnx", "format": "onnx"})

    folder = changed(add)
    code, rows = verify(folder, "--backend", "onnxruntime")
    assert [row["passed"] for row in rows] == [False, True]
    assert code == 0
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["files"] = content["files"][:1]
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    assert verify(folder, "--backend", "onnxruntime")[0] == 1
