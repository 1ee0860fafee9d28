"""The gate on files of several formats and precisions, with golden data of the ONNX file or of their own."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from commands import models, verify


@pytest.fixture(name="bundle")
def _bundle(golden_yolox: Path, data: Path, tmp_path: Path) -> Path:
    """YOLOX-nano with golden data of its ONNX file, and two TFLite files beside it."""
    folder = tmp_path / "yolox_nano"
    shutil.copytree(golden_yolox, folder, symlinks=True)
    content = yaml.safe_load((folder / "model.yaml").read_text())
    for name, precision in (("yolox_nano_float16", "f16"), ("yolox_nano_dynrange", "int8")):
        (folder / f"{name}.tflite").symlink_to(data / f"models/yolox_nano/{name}.tflite")
        content["files"].append({"path": f"{name}.tflite", "format": "tflite", "precision": precision})
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.mark.slow
def test_tflite_files_are_proven_against_the_onnx_file(bundle: Path) -> None:
    """Half-precision and quantized weights, on both runtimes that read them, within what each precision allows."""
    rows = verify(bundle, "--backend", "litert", "--backend", "openvino")[1]
    passed = {(row["backend"], row["file"]) for row in rows if row["passed"]}
    assert {
        ("litert", "yolox_nano_float16.tflite"),
        ("litert", "yolox_nano_dynrange.tflite"),
        ("openvino", "yolox_nano_float16.tflite"),
    } <= passed


def test_a_device_that_is_not_there_does_not_pass(bundle: Path) -> None:
    """`--device` reaches every runtime, and each says what it has."""
    done = models("verify", bundle, "--json", "--backend", "openvino", "--precision", "f32", "--device", "GPU.7")
    rows = json.loads(done.output)["rows"]
    assert done.code == 1
    assert rows
    assert all("no device GPU.7 here; it has CPU" in row["reason"] for row in rows)


@pytest.mark.slow
def test_quantized_weights_alone_are_their_own_reference(bundle: Path, data: Path) -> None:
    """A bundle with nothing but an int8 file has golden data too, checked against labels like any other."""
    content = yaml.safe_load((bundle / "model.yaml").read_text())
    content["files"] = [one for one in content["files"] if one.get("precision") == "int8"]
    (bundle / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    pictures = data / "images/coco_det_ccby"
    made = models("golden", bundle, "--images", pictures, "--labels", pictures / "annotations.json")
    assert made.code == 0, made.errors
    reference = yaml.safe_load((bundle / "golden/golden.yaml").read_text())["reference"]
    assert (reference["backend"], reference["precision"]) == ("litert", "int8")
    (row,) = verify(bundle, "--backend", "litert")[1]
    assert row["passed"], row
