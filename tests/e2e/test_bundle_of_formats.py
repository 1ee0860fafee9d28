"""UltraFace as one bundle of five files, each with its own input and output: golden data serve them all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import write_ultraface

RUN = ("onnx decoded", "onnx raw", "caffe", "tflite", "openvino")


def models(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `edge-vision models ...`."""
    command = [sys.executable, "-m", "edge_vision", "models", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def with_golden(bundle: Path, data: Path, folder: Path) -> Path:
    """Golden data of four pictures with faces."""
    folder.mkdir()
    images = data / "images"
    for name in ("misc/face.jpg", "misc/grace_hopper.bmp", "coco_det_ccby/000000547503.jpg"):
        (folder / Path(name).name).symlink_to(images / name)
    done = models("golden", bundle, "--images", folder)
    assert done.returncode == 0, done.stderr
    return bundle


def rows_of(bundle: Path) -> list[dict[str, Any]]:
    """What `models verify` says of every file on every runtime that is here."""
    done = models("verify", bundle, "--all-backends", "--json")
    assert "Traceback" not in done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_every_file_passes_on_every_runtime_that_can_read_it(data: Path, tmp_path: Path) -> None:
    """Channels first or last, decoder inside or here: the answers of one reference are those of all."""
    bundle = with_golden(write_ultraface(tmp_path / "bundle", data, *RUN), data, tmp_path / "pictures")
    rows = rows_of(bundle)
    passed = {(Path(row["file"]).suffix, row["backend"]) for row in rows if row["passed"]}
    assert passed == {
        (".onnx", "openvino"), (".onnx", "onnxruntime"), (".onnx", "opencv_dnn"), (".prototxt", "opencv_dnn"),
        (".tflite", "openvino"), (".tflite", "litert"), (".xml", "openvino"),
    }  # fmt: skip


def test_the_references_answers_are_decoded_with_its_own_geometry(data: Path, tmp_path: Path) -> None:
    """A file that lays the picture differently is judged by what it sees, and not by a shifted reference."""
    bundle = write_ultraface(tmp_path / "bundle", data, "onnx decoded", "openvino")
    content = yaml.safe_load((bundle / "model.yaml").read_text())
    content["files"][1]["input"] = {**content["input"], "resize": "letterbox", "pad_value": 0}
    (bundle / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rows = rows_of(with_golden(bundle, data, tmp_path / "pictures"))
    (other,) = (row for row in rows if str(row["file"]).endswith(".xml"))
    assert "postprocess" not in other["reason"]
    assert other["verdict"]["decoder"]["mean_iou"] == pytest.approx(1.0, abs=1e-3)
