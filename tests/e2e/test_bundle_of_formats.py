"""UltraFace as one bundle of five files, each with its own input and output: golden data serve them all."""

from pathlib import Path

import pytest
import yaml
from commands import models, verify
from face_bundles import write_ultraface

pytestmark = pytest.mark.usefixtures("own_cache")

RUN = ("onnx decoded", "onnx raw", "caffe", "tflite", "openvino")


def with_golden(bundle: Path, data: Path, folder: Path) -> Path:
    """Golden data of four pictures with faces."""
    folder.mkdir()
    images = data / "images"
    for name in ("misc/face.jpg", "misc/grace_hopper.bmp", "coco_det_ccby/000000547503.jpg"):
        (folder / Path(name).name).symlink_to(images / name)
    done = models("golden", bundle, "--images", folder)
    assert done.code == 0, done.errors
    return bundle


def test_every_file_passes_on_every_runtime_that_can_read_it(data: Path, tmp_path: Path) -> None:
    """Channels first or last, decoder inside or here: the answers of one reference are those of all."""
    bundle = with_golden(write_ultraface(tmp_path / "bundle", data, *RUN), data, tmp_path / "pictures")
    rows = verify(bundle, "--all-backends")[1]
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
    rows = verify(with_golden(bundle, data, tmp_path / "pictures"), "--all-backends")[1]
    (other,) = (row for row in rows if str(row["file"]).endswith(".xml"))
    assert "postprocess" not in other["reason"]
    assert other["verdict"]["decoder"]["mean_iou"] == pytest.approx(1.0, abs=1e-3)
