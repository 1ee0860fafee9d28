"""`edge-vision models convert` and `bench`: other formats, proven before they are kept; runtimes beside each other."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from commands import models
from proven import add_file, snapshot

from edge_vision.inference import table

GPU = table.backend("tensorrt").probe().reason

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("precision, name", [("f32", "yolox_nano.xml"), ("f16", "yolox_nano_f16.xml")])
def test_openvino_is_written_beside_the_old_files(precision: str, name: str, proven: Path, tmp_path: Path) -> None:
    """With its checksums and what made it; half the size in half precision; `verify` passes on it."""
    before = snapshot(proven)
    code, output, errors = models(
        "convert", proven, "--to", "openvino", "--precision", precision, "-o", tmp_path / "new"
    )
    assert code == 0, output + errors
    assert "openvino: passed" in output
    assert snapshot(proven) == before
    content = yaml.safe_load((tmp_path / "new/model.yaml").read_text())
    row = content["files"][-1]
    assert (row["path"], row["format"], row["precision"]) == (name, "openvino", precision)
    assert row["made"].startswith("openvino 20")
    assert row["made"].endswith(", from yolox_nano.onnx")
    assert {"sha256", "weights_sha256"} <= set(row)
    weights = (tmp_path / "new" / name).with_suffix(".bin").stat().st_size
    assert (weights < 2_000_000) == (precision == "f16")
    code, output, _ = models("verify", tmp_path / "new", "--backend", "openvino")
    assert (code, output.count("passed")) == (0, 2)
    (tmp_path / "new" / name).with_suffix(".bin").write_bytes(b"other weights")
    code, _, errors = models("verify", tmp_path / "new", "--backend", "openvino")
    assert (code, "not the one written here" in errors) == (78, True)


@pytest.mark.skipif(not GPU.startswith("no NVIDIA driver"), reason="with a GPU the gate decides")
def test_an_engine_is_built_and_not_called_proven_where_there_is_no_gpu(proven: Path, tmp_path: Path) -> None:
    """By the real TensorRT-RTX, from the real network; another machine will have to prove it."""
    pytest.importorskip("tensorrt_rtx")
    code, output, errors = models("convert", proven, "--to", "tensorrt", "-o", tmp_path / "new")
    assert code == 0, output + errors
    assert "by tensorrt_rtx 1." in output
    assert "not proven: no runtime of this machine reads it" in output
    row = yaml.safe_load((tmp_path / "new/model.yaml").read_text())["files"][-1]
    assert (row["path"], row["format"]) == ("yolox_nano.engine", "tensorrt")
    assert (tmp_path / "new/yolox_nano.engine").stat().st_size > 3_000_000
    code, output, _ = models("verify", tmp_path / "new", "--backend", "tensorrt")
    assert (code, "no NVIDIA driver" in output) == (1, True)


def converter(folder: Path, body: str) -> Path:
    """A program that takes onnx2tf's arguments."""
    program = folder / "onnx2tf"
    program.write_text(f'#!/bin/sh\nout="$4"\nif [ "$1" = --version ]; then echo 1.29; exit; fi\n{body}\n')
    program.chmod(0o755)
    return program


def test_a_tflite_file_that_sees_the_same_is_kept(data: Path, proven: Path, tmp_path: Path) -> None:
    """The public f16 file stands for the result of the converter, which is a program of its own."""
    pytest.importorskip("ai_edge_litert")
    public = data / "models/yolox_nano/yolox_nano_float16.tflite"
    program = converter(tmp_path, f'mkdir "$out" && cp {public} "$out/yolox_nano_float16.tflite"')
    arguments = ("--to", "tflite", "--precision", "f16", "--tool", program, "-o", tmp_path / "new")
    code, output, errors = models("convert", proven, *arguments)
    assert code == 0, output + errors
    assert output.index("litert: passed") < output.index("openvino: passed")
    row = yaml.safe_load((tmp_path / "new/model.yaml").read_text())["files"][-1]
    assert row["made"] == "onnx2tf 1.29, from yolox_nano.onnx"


def test_a_file_that_sees_something_else_is_not_kept(data: Path, proven: Path, tmp_path: Path) -> None:
    """A converter that quantizes on the sly: the gate's figures, exit code 1, and no bundle."""
    pytest.importorskip("ai_edge_litert")
    lossy = data / "models/yolox_nano/yolox_nano_dynrange.tflite"
    program = converter(tmp_path, f'mkdir "$out" && cp {lossy} "$out/yolox_nano_float32.tflite"')
    code, output, errors = models("convert", proven, "--to", "tflite", "--tool", program, "-o", tmp_path / "new")
    assert code == 1, output + errors
    assert "litert: refused: runtime: sees something else at f32" in output
    assert "nothing is written" in output
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["onnx2tf"]


@pytest.mark.full
def test_the_real_onnx2tf_converts(proven: Path, tmp_path: Path) -> None:
    """Where it is installed; its files see the same."""
    if shutil.which("onnx2tf") is None:
        pytest.skip("onnx2tf is not in PATH: it brings TensorFlow, and is installed apart")
    code, output, errors = models("convert", proven, "--to", "tflite", "-o", tmp_path / "new")
    assert code == 0, output + errors
    assert "litert: passed" in output


@pytest.mark.parametrize(
    "arguments, words, code",
    [
        (["--to", "tensorrt", "--precision", "f16"], "f16", 78),
        (["--to", "tflite", "--tool", "absent-program"], "absent-program: no such program: TFLite is written by", 78),
        (["--to", "tflite", "--tool", "false"], "false cannot convert it (exit code 1)", 78),
        (["--to", "coreml"], "invalid choice: 'coreml'", 2),
        (["--to", "openvino", "-o", "{proven}"], "exists already; a bundle is never written over", 78),
        (["--to", "openvino", "-o", "/proc/nowhere/new"], "/proc/nowhere/new: cannot be written", 78),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_remedy(
    arguments: list[str], words: str, code: int, proven: Path, tmp_path: Path
) -> None:
    """Named with the format or the program; nothing is left behind."""
    filled = [word.format(proven=proven) for word in arguments]
    actual, output, errors = models("convert", proven, "-o", tmp_path / "new", *filled)
    assert actual == code, output + errors
    assert words in errors
    assert not (tmp_path / "new").exists()


def test_a_bundle_without_what_is_needed_is_refused(yolox: Path, proven: Path, tmp_path: Path) -> None:
    """No golden data; no file to start from."""
    code, _, errors = models("convert", yolox, "--to", "openvino", "-o", tmp_path / "new")
    assert (code, f"edge-vision models golden {yolox} --images DIR" in errors) == (78, True)
    code, output, errors = models("convert", proven, "--to", "openvino", "-o", tmp_path / "ir")
    assert code == 0, output + errors
    content = yaml.safe_load((tmp_path / "ir/model.yaml").read_text())
    content["files"] = content["files"][-1:]
    (tmp_path / "ir/model.yaml").write_text(yaml.safe_dump(content))
    code, _, errors = models("convert", tmp_path / "ir", "--to", "openvino", "-o", tmp_path / "new")
    assert code == 78
    assert "needs an f32 file in onnx or" in errors
    assert "it has yolox_nano.xml (openvino, f32)" in errors


@pytest.mark.full
def test_bench_times_every_runtime_and_says_who_may_serve(data: Path, proven: Path, tmp_path: Path) -> None:
    """A file that passes for f32 and is not: timed like the others, refused, and last."""
    pytest.importorskip("ai_edge_litert")
    folder = tmp_path / "bundle"
    shutil.copytree(proven, folder)
    add_file(folder, data / "models/yolox_nano/yolox_nano_dynrange.tflite", format="tflite", precision="f32")
    code, output, errors = models("bench", folder, "--seconds", "2", "--json")
    assert code == 0, errors
    facts = json.loads(output)
    timed = [one for one in facts["results"] if one["pace"]]
    seen = {(one["backend"], one["file"]): one["state"] for one in timed}
    lossy = "yolox_nano_dynrange.tflite"
    assert seen[("litert", lossy)] == seen[("openvino", lossy)] == "failed"
    for backend in ("openvino", "onnxruntime", "opencv_dnn"):
        assert seen[(backend, "yolox_nano.onnx")] == "proven"
    assert [one["state"] == "failed" for one in timed] == sorted(one["state"] == "failed" for one in timed)
    assert timed[0]["ratio"] == 1.0
    for one in timed:
        pace = one["pace"]
        assert pace["frames"] == timed[0]["pace"]["frames"] >= 12
        assert 0 < pace["infer_p50"] <= pace["road_p50"] <= pace["road_p95"]
        assert pace["cpu"] > 0
    absent = [one for one in facts["results"] if not one["pace"]]
    assert all(one["reason"] for one in absent)


def test_bench_without_golden_data_proves_nothing(yolox: Path) -> None:
    """It says so in the table."""
    code, output, errors = models("bench", yolox, "--backend", "onnxruntime", "--seconds", "0.3")
    assert code == 0, errors
    assert output.splitlines()[-1].endswith("1.00  unproven")


@pytest.mark.parametrize(
    "arguments, words, code",
    [
        (["--backend", "caffe"], "invalid choice: 'caffe'", 2),
        (["--seconds", "0"], "must be a number from 0.1 to 3600, not '0'", 2),
        (["--seconds", "nan"], "must be a number from 0.1 to 3600, not 'nan'", 2),
        (["--threads", "0"], "must be a whole number from 1 to 256, not '0'", 2),
        (["--precision", "int8"], "", 1),
    ],
)
def test_bench_refuses_what_cannot_be_timed(arguments: list[str], words: str, code: int, yolox: Path) -> None:
    """Wrong words are the command line's; where nothing may serve the exit code is 1, with the reasons."""
    actual, output, errors = models("bench", yolox, *arguments)
    assert actual == code, output + errors
    assert words in errors
    if code == 1:
        assert output.count("not here: ") >= 3
