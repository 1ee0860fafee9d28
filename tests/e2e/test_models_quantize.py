"""`edge-vision models quantize`: int8 of the real YOLOX-nano, with what it gains and costs; bad ones stay out."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import models
from conftest import Start
from proven import add_file, reread, snapshot

from edge_vision.core.errors import ModelError
from edge_vision.models.making.calibration import Calibration, pick_pictures
from edge_vision.models.making.quantize import Order, quantize
from edge_vision.models.making.scope import SCOPES

pytest.importorskip("onnx")

pytestmark = pytest.mark.usefixtures("own_cache")


def measure(proven: Path, data: Path, new: Path, tool: str) -> dict[str, Any]:
    """What the command says of int8, calibrated on other pictures than it is measured on."""
    code, output, errors = models(
        *("quantize", proven, "--with", tool, "--images", data / "images/coco_person_kpt_ccby", "-o", new, "--json"),
        *("--labels", data / "images/coco_det_ccby/annotations.json", "--test-images", data / "images/coco_det_ccby"),
    )
    facts: dict[str, Any] = json.loads(output)
    last = facts["attempts"][-1]
    plain, small = facts["paces"]
    print(
        f"{tool}: AP {facts['accuracy']['ap']:.4f} -> {last['accuracy']['ap']:.4f}, "
        f"{facts['source_size']} -> {last['size']} bytes, {plain['infer_p50']:.2f} -> {small['infer_p50']:.2f} ms"
    )
    assert code == 0, errors
    assert facts["shared"] == 0
    assert facts["accuracy"]["ap"] == pytest.approx(0.257, abs=0.002)
    assert last["accuracy"]["ap"] == pytest.approx(facts["accuracy"]["ap"], abs=0.04)
    assert last["size"] < 0.8 * facts["source_size"]
    assert plain["frames"] == small["frames"] > 0
    return {**facts, "errors": errors}


@pytest.mark.full
@pytest.mark.slow
def test_onnxruntime_leaves_layers_out_until_the_gate_accepts(
    data: Path, proven: Path, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """Every layer in int8 costs much accuracy and is refused; without the touchy ones it passes and is written."""
    new, before = tmp_path / "made" / "int8", snapshot(proven)
    facts = measure(proven, data, new, "onnxruntime")
    first, last = facts["attempts"][0], facts["attempts"][-1]
    assert first["scope"] == "every layer"
    assert "sees something else at int8" in first["rows"][0]["reason"]
    assert first["accuracy"]["ap"] < facts["accuracy"]["ap"] - 0.03
    decisive = last["rows"][0]
    assert (decisive["backend"], decisive["file"]) == ("onnxruntime", "yolox_nano_int8.onnx")
    assert (decisive["precision"], decisive["reason"]) == ("int8", "")
    assert snapshot(proven) == before
    after = snapshot(new)
    assert {name: after[name] for name in before if name != "model.yaml"} == {
        name: content for name, content in before.items() if name != "model.yaml"
    }
    assert set(after) - set(before) == {"yolox_nano_int8.onnx"}
    assert [path.name for path in new.parent.iterdir()] == ["int8"]
    row = yaml.safe_load(after["model.yaml"])["files"][-1]
    assert (row["format"], row["precision"]) == ("onnx", "int8")
    assert row["made"].startswith("onnxruntime ")
    assert row["made"].endswith("12 pictures, from yolox_nano.onnx")
    code, output, _ = models("verify", new, "--backend", "onnxruntime", "--precision", "int8")
    assert (code, "passed" in output) == (0, True)
    site = write_site(cameras=[camera(data, new)], publish=[{"kind": "jsonl", "path": "-"}])
    code, output, errors = serve(edge_vision, site)
    assert code == 0, errors
    assert {json.loads(line)["model"]["precision"] for line in output.splitlines()} == {"int8"}
    # Once more from the new bundle: its int8 file is no source, and its name is taken.
    code, _, errors = models(
        "quantize", new, "--with", "onnxruntime", "--images", data / "images/misc", "-o", tmp_path / "two"
    )
    assert (code, "has yolox_nano_int8.onnx already" in errors) == (78, True)


@pytest.mark.full
def test_nncf_quantizes_and_the_gate_accepts(data: Path, proven: Path, tmp_path: Path) -> None:
    """Its int8 file is an OpenVINO one, and keeps the accuracy."""
    if importlib.util.find_spec("nncf") is None:  # importing it here would leave its threads here
        pytest.skip("nncf is not installed")
    facts = measure(proven, data, tmp_path / "new", "nncf")
    assert facts["maker"].startswith("nncf ")
    assert facts["attempts"][-1]["rows"][0]["backend"] == "openvino"
    code, output, _ = models("verify", tmp_path / "new", "--backend", "openvino", "--precision", "int8")
    assert (code, "passed" in output) == (0, True)


def test_an_int8_file_beyond_the_tolerance_is_not_written(data: Path, proven: Path, tmp_path: Path) -> None:
    """Every layer, and nothing else to try: the figures, and no trace of the new bundle."""
    pictures = pick_pictures((data / "images/coco_person_kpt_ccby",), 4)
    told: list[str] = []
    order = Order("onnxruntime", pictures, None, tmp_path / "new", SCOPES[:1])
    done = quantize(reread(proven), order, lambda attempt: told.append(attempt.scope))
    assert told == ["every layer"]
    assert not done.passed
    assert "missed beside" in done.attempts[0].rows[0].reason
    assert not (tmp_path / "new").exists()
    assert [path for path in tmp_path.iterdir() if path.name != "cache"] == []


def serve(edge_vision: Start, site: Path) -> tuple[int, str, str]:
    """Exit code, messages and log of a site."""
    process = edge_vision("run", site)
    output, errors = process.communicate(timeout=90)
    return process.returncode, output, errors


def camera(data: Path, bundle: Path) -> dict[str, Any]:
    """One that shows a folder of pictures to int8 weights on ONNX Runtime."""
    return {
        "id": "pictures",
        "source": {"kind": "images", "path": str(data / "images/coco_det_ccby")},
        "pipeline": "object_detection",
        "with": {"model": str(bundle), "precision": "int8", "backends": ["onnxruntime"]},
    }


def test_a_naive_int8_file_put_into_a_bundle_by_hand_does_not_serve(
    data: Path, proven: Path, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """One scale per tensor, the head too: `verify` says by how much, and a site with it does not start."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    bundle = reread(proven)
    calibration = Calibration(bundle.ends[0].input, pick_pictures((data / "images/coco_person_kpt_ccby",), 4))

    class Reader(CalibrationDataReader):  # type: ignore[misc] # the library has no types
        tensors = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(({"images": tensor} for tensor in self.tensors), None)

    naive = tmp_path / "naive.onnx"
    quantize_static(
        *(str(bundle.spec.files[0].path), str(naive), Reader()),
        quant_format=QuantFormat.QDQ,
        per_channel=False,
        activation_type=QuantType.QUInt8,
    )
    folder = tmp_path / "bundle"
    shutil.copytree(proven, folder)
    add_file(folder, naive, format="onnx", precision="int8")
    code, output, _ = models("verify", folder, "--backend", "onnxruntime", "--precision", "int8", "--json")
    (row,) = json.loads(output)["rows"]
    print(f"naive int8: {row['reason']}")
    assert code == 1
    assert row["verdict"]["agreement"]["quality"] < 0.8
    assert "sees something else at int8" in row["reason"]
    site = write_site(cameras=[camera(data, folder)], publish=[{"kind": "jsonl", "path": "-"}])
    code, output, errors = serve(edge_vision, site)
    assert (code, output) == (78, "")
    assert "sees something else at int8" in errors


def test_a_dynamic_range_file_is_int8_and_not_f32(data: Path, proven: Path, tmp_path: Path) -> None:
    """The public TFLite with int8 weights: good enough for what it is, and refused for what it is not."""
    pytest.importorskip("ai_edge_litert")
    public = data / "models/yolox_nano/yolox_nano_dynrange.tflite"
    for precision, expected in (("int8", 0), ("f32", 1)):
        folder = tmp_path / precision
        shutil.copytree(proven, folder)
        add_file(folder, public, format="tflite", precision=precision)
        code, output, _ = models("verify", folder, "--backend", "litert", "--precision", precision)
        print(output.splitlines()[-1])
        assert code == expected, output


@pytest.mark.parametrize(
    "changed, words, code",
    [
        (["--images", "absent"], "absent: no such folder", 78),
        (["--images", "{data}/models"], "holds no picture", 78),
        (["--labels", "absent.json"], "absent.json: no such file", 78),
        (["--labels", "{data}/images/coco_person_kpt_ccby/annotations.json"], "knows none of the", 78),
        (["--test-images", "{data}/images/misc"], "needs --labels", 78),
        (["--with", "magic"], "invalid choice: 'magic'", 2),
        (["--most", "0"], "must be a whole number from 1 to 100000, not '0'", 2),
        (["-o", "{proven}"], "exists already; a bundle is never written over", 78),
        (["-o", "/proc/nowhere/new"], "/proc/nowhere/new: cannot be written", 78),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    changed: list[str], words: str, code: int, data: Path, proven: Path, tmp_path: Path
) -> None:
    """Named with its value; never a traceback, nothing left behind."""
    arguments = ["--images", str(data / "images/misc"), "-o", str(tmp_path / "new"), "--with", "onnxruntime"]
    arguments += [word.format(data=data, proven=proven) for word in changed]
    if changed[0] == "--images":
        arguments = arguments[2:]
    actual, output, errors = models("quantize", proven, *arguments)
    assert actual == code, output + errors
    assert words in errors
    assert not (tmp_path / "new").exists()


def test_a_bundle_without_golden_data_is_refused_with_the_remedy(data: Path, yolox: Path, tmp_path: Path) -> None:
    """Nothing could show what int8 loses."""
    code, _, errors = models(
        *("quantize", yolox, "--images", data / "images/misc", "-o", tmp_path / "new", "--with", "nncf")
    )
    assert code == 78
    assert f"edge-vision models golden {yolox} --images DIR" in errors


def test_a_tool_that_cannot_is_told_in_its_own_words(data: Path, proven: Path, tmp_path: Path) -> None:
    """A damaged file is no source; the message names it."""
    from edge_vision.models.making.quantize_onnx import OnnxQuantizer

    bundle = reread(proven)
    folder = tmp_path / "bundle"
    shutil.copytree(proven, folder)
    (folder / "yolox_nano.onnx").unlink()
    (folder / "yolox_nano.onnx").write_bytes(b"\x08\x07garbage")
    calibration = Calibration(bundle.ends[0].input, pick_pictures((data / "images/misc",), 1))
    with pytest.raises(ModelError, match=r"yolox_nano\.onnx: onnxruntime cannot quantize it: "):
        OnnxQuantizer().quantize(reread(folder).spec.files[0], SCOPES[0], calibration, tmp_path / "out.onnx")
