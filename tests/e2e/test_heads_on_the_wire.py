"""Keypoints, corners and boxes of heads reach the messages, in pixels of the picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from commands import run
from numpy.typing import NDArray

SIDE = 64
POSE = [32, 32, 16, 8, 0.9, 30, 28, 0.8, 34, 36, 0.1]
TURNED = [32, 32, 20, 10, 0.9, np.pi / 2]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "yolov8_pose": (
        {"keypoints": 2},
        {"out": np.array([POSE, [0.0] * len(POSE)], np.float32).T[None]},
        {"xyxy": [48, 36, 80, 52], "keypoints": [[60, 36, 0.8], [68, 52, 0.1]]},
    ),
    "yolov8_obb": (
        {},
        {"out": np.array([TURNED, [1.0] * 4 + [0.0, 0.0]], np.float32).T[None]},
        {"xyxy": [54, 24, 74, 64], "quad": [[74, 24], [74, 64], [54, 64], [54, 24]]},
    ),
    "detr": (
        {"activation": "sigmoid"},
        {"logits": np.array([[[np.log(9.0)], [-9.0]]], np.float32), "pred_boxes": np.full((1, 2, 4), 0.5, np.float32)},
        {"xyxy": [32, 12, 96, 76]},
    ),
}
"""Options of the format, outputs of the network, what a message says of a picture of 128x88: scale 2, rim of 10."""


def _write(folder: Path, name: str, outputs: dict[str, NDArray[Any]], options: dict[str, Any]) -> Path:
    """A bundle with a network that always gives the same: it adds nothing times its input to constants."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir()
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], "mean", axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["none"], "none"),
        *(helper.make_node("Add", [f"{key}_is", "none"], [key], f"add_{key}") for key in outputs),
    ]
    constants = [numpy_helper.from_array(value, f"{key}_is") for key, value in outputs.items()]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, value.shape) for key, value in outputs.items()],
        [*constants, numpy_helper.from_array(np.zeros(1, np.float32), "nothing")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "net.onnx")
    content = {
        "version": 1,
        "name": name,
        "task": "detection",
        "files": [{"path": "net.onnx", "format": "onnx"}],
        "input": {"size": [SIDE, SIDE]},
        "output": {"format": name, **options},
        "labels": ["thing"],
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize("name", CASES)
def test_what_a_head_tells_is_in_the_message(name: str, tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """One object of the two that the network gives, with all that the format knows of it."""
    options, outputs, expected = CASES[name]
    model = _write(tmp_path / "model", name, outputs, options)
    (tmp_path / "pictures").mkdir()
    assert cv2.imwrite(str(tmp_path / "pictures/gray.png"), np.full((88, 128, 3), 90, np.uint8))
    camera = {"id": "cam", "source": {"kind": "images", "path": "pictures"}, "pipeline": "object_detection"}
    camera["with"] = {"model": str(model), "backends": ["onnxruntime"]}
    done = run("run", write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}]))
    assert done.code == 0, done.errors
    (message,) = (json.loads(line) for line in done.output.splitlines())
    (found,) = message["objects"]
    assert found["class"] == "thing"
    assert found["confidence"] == pytest.approx(0.9, abs=1e-3)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=0.1)
