"""`models import`, `check` and `show` on real files: what comes out runs, and what was guessed is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from commands import models
from conftest import Start
from malformed import node, small
from onnx import TensorProto, helper

pytestmark = pytest.mark.usefixtures("own_cache")

YOLOX = "models/yolox_nano/yolox_nano.onnx"
ULTRAFACE = "models/ultraface_rfb320"
AS_YOLOX = (
    "input.color=bgr", "input.resize=letterbox", "input.anchor=top_left", "input.pad_value=114", "input.scale=1.0",
    "input.mean=[0,0,0]", "input.std=[1,1,1]", "thresholds.confidence=0.3", "thresholds.iou=0.45",
)  # fmt: skip


def settings(*given: str) -> list[str]:
    """The same as words of a command line."""
    return [word for one in given for word in ("--set", one)]


@pytest.fixture
def labels_file(coco_labels: list[str], tmp_path: Path) -> Path:
    """The labels of COCO, one per line."""
    file = tmp_path / "coco.txt"
    file.write_text("\n".join(coco_labels) + "\n")
    return file


def test_an_imported_yolox_sees_what_the_reference_saw(
    data: Path,
    labels_file: Path,
    edge_vision: Start,
    write_site: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """From the file to `run`: the reference's objects on its picture; what was said is not assumed any more."""
    bundle = tmp_path / "imported"
    code, output, errors = models("import", data / YOLOX, "-o", bundle, "--labels", labels_file, *settings(*AS_YOLOX))
    assert code == 0, errors
    assert "assumed" not in output
    assert "3549 cells of the strides 8, 16, 32, boxes as offsets" in output
    content = yaml.safe_load((bundle / "model.yaml").read_text())
    assert content["output"] == {"format": "yolox", "strides": [8, 16, 32]}
    assert content["source"]["opset"] == 11
    assert "onnxruntime 1." in content["source"]["imported_with"]
    assert "assumed" not in content["source"]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "dog.jpg").symlink_to(data / "images/misc/dog.jpg")
    site = write_site(
        cameras=[
            {
                "id": "c",
                "source": {"kind": "images", "path": str(pictures)},
                "pipeline": "object_detection",
                "with": {"model": str(bundle)},
            }
        ],
        publish=[{"kind": "jsonl", "path": str(tmp_path / "out.jsonl")}],
    )
    process = edge_vision("run", site)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    (line,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = sorted(line["objects"], key=lambda one: -one["confidence"])
    expected = json.loads((data / "expected/dog_detections.json").read_text())["yolox_nano.onnx"]
    assert [one["class"] for one in found[:3]] == [one["label"] for one in expected[:3]]
    for one, reference in zip(found[:3], expected[:3], strict=True):
        assert one["confidence"] == pytest.approx(reference["score"], abs=0.01)
        assert one["xyxy"] == pytest.approx(reference["xyxy"], abs=1.0)


@pytest.mark.parametrize(
    "folder, file, names, more, task",
    [
        ("mobilenet_v1_025_128", "mobilenet_v1_0.25_128_quant.tflite", "imagenet_labels.txt", (), "classification"),
        ("vww_person_96", "vww_96_float.tflite", None, (), "classification"),
        ("lprnet", "lprnet.onnx", "chars.txt", (), "recognition"),
        ("ppocr_mobile_v2", "en_number_mobile_v2.0_rec_infer.onnx", "en_dict.txt", ("--input-size", "320,32"),
         "recognition"),
        ("road_seg_adas_0001", "road-segmentation-adas-0001.onnx", None, (), "segmentation"),
        ("reid_0288", "person-reidentification-retail-0288.onnx", None, ("--output", "embedding"), "embedding"),
    ],
)  # fmt: skip
def test_models_without_boxes_are_known_too(
    folder: str, file: str, names: str | None, more: tuple[str, ...], task: str, data: Path, tmp_path: Path
) -> None:
    """By their outputs; and nobody is told to label boxes."""
    source = data / "models" / folder
    labels = () if names is None else ("--labels", source / names)
    code, output, errors = models("import", source / file, "-o", tmp_path / "b", *labels, *more)
    assert code == 0, errors
    assert yaml.safe_load((tmp_path / "b/model.yaml").read_text())["task"] == task
    assert "--images DIR --expected answers.json" in output
    if names == "en_dict.txt":
        assert "output.space: True" in output


def test_an_imported_reader_reads_plates(data: Path, tmp_path: Path) -> None:
    """LPRNet as it is guessed, but for the shape of its input: the blank is found, and 91 of 100 crops are read."""
    source, bundle = data / "models/lprnet", tmp_path / "b"
    words = ("import", source / "lprnet.onnx", "-o", bundle, "--labels", source / "chars.txt")
    code, output, errors = models(*words, "--set", "input.resize=stretch")
    assert code == 0, errors
    assert "output.blank: 67" in output
    crops = data / "images/plates_crop"
    code, output, errors = models("eval", bundle, "--texts", crops / "labels.csv", "--images", crops)
    assert code == 0, errors
    assert int(output.split(": ", 1)[1].split(" ", 1)[0]) >= 90, output


def test_what_may_be_several_things_is_asked_for(data: Path, tmp_path: Path) -> None:
    """A vector of 256 numbers is a description, or a number per class."""
    source = data / "models/reid_0288/person-reidentification-retail-0288.onnx"
    code, _, errors = models("import", source, "-o", tmp_path / "b")
    assert code == 78
    assert "[1, 256] may be classification or embedding: say which with --output" in errors


def test_what_no_file_tells_is_listed(data: Path, tmp_path: Path) -> None:
    """On standard output and in model.yaml: each key with its value; class names, too."""
    code, output, errors = models("import", data / YOLOX, "-o", tmp_path / "b", "--set", "input.color=rgb")
    assert code == 0, errors
    assumed = output.partition("assumed, because no file tells it")[2]
    for words in ("input.scale: 1.0", "input.anchor: top_left", "input.pad_value: 114", "labels: class_0 to class_79"):
        assert words in assumed
    assert "input.color" not in assumed
    source = yaml.safe_load((tmp_path / "b/model.yaml").read_text())["source"]
    keys = ["resize", "anchor", "pad_value", "scale", "mean", "std"]
    assert source["assumed"] == [*(f"input.{key}" for key in keys), "labels"]
    code, output, errors = models("show", tmp_path / "b")
    assert code == 0, errors
    assert "assumed [input.resize" in output


@pytest.mark.parametrize(
    "file,format_",
    [
        ("version-RFB-320.onnx", "scores_boxes"),
        ("RFB-320_fp32.xml", "scores_boxes"),
        ("RFB-320.prototxt", "priors"),
        ("version-RFB-320_without_postprocessing.tflite", "priors"),
    ],
)
def test_the_same_faces_in_other_formats(file: str, format_: str, data: Path, tmp_path: Path) -> None:
    """Formats of one or two files: recognized, tried, and the decoder chosen by what comes out."""
    labels = tmp_path / "labels.txt"
    labels.write_text("face\n")
    code, _, errors = models("import", data / ULTRAFACE / file, "-o", tmp_path / "b", "--labels", labels)
    assert code == 0, errors
    content = yaml.safe_load((tmp_path / "b/model.yaml").read_text())
    assert content["output"]["format"] == format_
    assert content["input"]["size"] == [320, 240]
    code, output, errors = models("check", tmp_path / "b")
    assert code == (0 if "tflite" not in file else 78), errors  # OpenCV has no SPACE_TO_BATCH_ND
    assert "runs it" in output


def ultralytics(open_batch: int | str) -> Any:
    """A small graph with the outputs and the metadata of an export by Ultralytics, and an axis for batches."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [open_batch, 3, 64, 64])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [open_batch, 6, 84])
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 6, 84])
    # A batch is claimed, and every one of them ends in a single answer.
    nodes = [
        node("ReduceMax", "images", "most", axes=[0, 1, 2, 3], keepdims=0),
        node("Expand", "most", "shape", "out"),
    ]
    model = small(nodes, (shape,), inputs=(images,), outputs=(out,))
    facts = {
        "author": "Ultralytics", "names": "{0: 'bolt', 1: 'nut'}", "stride": "32", "imgsz": "[64, 64]",
        "license": "AGPL-3.0 License",
    }  # fmt: skip
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "pytorch", "2.3.0"
    return model


def test_metadata_are_read_and_open_axes_are_tried(tmp_path: Path) -> None:
    """Names, license and input as the exporter wrote them; a batch that only the file believes in is found out."""
    onnx.save(ultralytics("batch"), tmp_path / "best.onnx")
    code, output, errors = models("import", tmp_path / "best.onnx", "-o", tmp_path / "b")
    assert code == 0, errors
    content = yaml.safe_load((tmp_path / "b/model.yaml").read_text())
    assert content["labels"] == ["bolt", "nut"]
    assert content["output"] == {"format": "yolov8"}
    assert content["input"]["scale"] == pytest.approx(1 / 255)
    assert content["source"]["license"] == "AGPL-3.0 License"
    assert (content["source"]["framework"], content["source"]["framework_version"]) == ("pytorch", "2.3.0")
    assert set(content["source"]["assumed"]) == {"input.mean", "input.std"}
    tried = content["source"]["tried"]
    assert any(one.startswith("batch 2 on onnxruntime: runs, but output out [1, 6, 84]") for one in tried), tried
    assert "open axes, tried:" in output


def test_axes_that_really_are_open_work(tmp_path: Path) -> None:
    """The same for a network whose batch is open in truth."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 64, "w"])
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [6, 3, 8, 8], np.ones(6 * 3 * 64).tolist())
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 6, "m"])
    cells = helper.make_tensor("cells", TensorProto.INT64, [3], [0, 6, -1])
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["c"], strides=[8, 8]),
        helper.make_node("Reshape", ["c", "cells"], ["out"]),
    ]
    onnx.save(small(nodes, (kernel, cells), inputs=(images,), outputs=(out,)), tmp_path / "open.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("bolt\nnut\n")
    words = ("import", tmp_path / "open.onnx", "-o", tmp_path / "b", "--output", "yolov8", "--labels", labels)
    code, _, errors = models(*words)
    assert code == 78
    assert "has open sides: say --input-size WIDTH,HEIGHT" in errors
    code, output, errors = models(*words, "--input-size", "96,64")
    assert code == 0, errors
    assert "batch 2 on onnxruntime: works" in output
    assert "batch 4 on openvino: works" in output
    assert "size +32 [1, 3, 64, 128] on onnxruntime: works" in output


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--set", "input.colour=bgr"], "input.colour: unknown key; did you mean color?"),
        (["--set", "input.color"], "--set input.color: write KEY=VALUE"),
        (["--output", "yolov8"], "does not look like yolov8 but like yolox with 80 classes"),
        (["--output", "yolov8", "--labels", "two.txt"], "format yolov8 expects"),
        (["--set", "output.format=yolo99", "--labels", "two.txt"], "output.format"),
        (["--labels", "absent.txt"], "absent.txt: no such file"),
    ],
)
def test_what_does_not_hold_together_is_said(arguments: list[str], words: str, data: Path, tmp_path: Path) -> None:
    """A sentence with the key, 78, and nothing written."""
    (tmp_path / "two.txt").write_text("bolt\nnut\n")
    words_given = [str(tmp_path / "two.txt") if one == "two.txt" else one for one in arguments]
    code, _, errors = models("import", data / YOLOX, "-o", tmp_path / "b", *words_given)
    assert code == 78
    assert words in errors
    assert not (tmp_path / "b").exists()


def pool_3d(file: Path) -> Path:
    """A graph with a global 3-D pooling, which OpenCV's own DNN module has not."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, 1, 1, 1])
    nodes = [node("Unsqueeze", "images", "axes", "deep"), node("GlobalAveragePool", "deep", "out")]
    onnx.save(small(nodes, (axes,), outputs=(out,)), file)
    return file


def test_check_names_file_node_and_runtime(tmp_path: Path) -> None:
    """78 with what stops which runtime and which can; 0 when only those are asked."""
    file = pool_3d(tmp_path / "pool.onnx")
    code, output, errors = models("check", file)
    assert code == 78
    (line,) = errors.splitlines()
    assert line.startswith(f"{file}: node the_globalaveragepool (GlobalAveragePool): opencv_dnn cannot run it: ")
    assert line.endswith("; openvino, onnxruntime can")
    assert "opset 13, 2 nodes" in output
    code, output, errors = models("check", file, "--backend", "openvino", "--backend", "onnxruntime", "--json")
    assert (code, errors) == (0, "")
    (facts,) = json.loads(output)
    assert [(row["backend"], row["passed"]) for row in facts["rows"]] == [("openvino", True), ("onnxruntime", True)]


def test_check_finds_the_node_behind_a_real_crash(data: Path) -> None:
    """OpenCV 4.14 ends the process on this file without a word: the graph is cut until the node is found."""
    file = data / "models/reid_0288/person-reidentification-retail-0288.onnx"
    code, _, errors = models("check", file, "--backend", "opencv_dnn")
    assert code == 78
    assert "crashed (SIGSEGV)" in errors
    assert "node model/tf.math.reduce_mean_1/Mean (ReduceMean)" in errors


def test_show_as_json(data: Path, yolox: Path) -> None:
    """Files with sizes and checksums, who reads them, what is known and what is not."""
    code, output, errors = models("show", yolox, "--json")
    assert code == 0, errors
    facts = json.loads(output)
    (file,) = facts["files"]
    assert file["parts"][0]["bytes"] == (data / YOLOX).stat().st_size
    assert len(file["parts"][0]["sha256"]) == 64
    assert file["runtimes"]["onnxruntime"] == "yes"
    assert file["runtimes"]["litert"] == "does not read onnx"
    assert (facts["proof"]["state"], facts["source"]) == ("none", None)
    assert len(facts["labels"]) == 80
