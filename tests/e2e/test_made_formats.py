"""The demo's detector out of PyTorch, TensorFlow and Paddle: the daemon sees in each what it sees in the ONNX file.

The files are made by tests/data_making/parts_in_formats.py, with the real frameworks, in environments of their own:
EDGE_VISION_TENSORFLOW and EDGE_VISION_PADDLE name a Python that has onnx and tensorflow-cpu or `paddlepaddle<3`,
EDGE_VISION_TORCH one with torch. A framework without its variable is skipped, and so is TorchScript where the Python
of the tests has no torch.
"""

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Start

PARTS = ROOT / "configs/demo/parts"
SCRIPT = ROOT / "tests/data_making/parts_in_formats.py"
ROWS = [
    ("torch", "torchscript", "parts.pt", "nchw", "torchscript"),
    ("tensorflow", "tensorflow", "parts.pb", "nhwc", "openvino"),
    ("tensorflow", "tensorflow", "parts.pb", "nhwc", "opencv_dnn"),
    ("tensorflow", "savedmodel", "parts_saved", "nhwc", "openvino"),
    ("tensorflow", "tflite", "parts.tflite", "nhwc", "litert"),
    ("tensorflow", "tflite", "parts.tflite", "nhwc", "openvino"),
    ("paddle", "paddle", "parts.pdmodel", "nchw", "openvino"),
]
FRAMES = 50


def _made(framework: str, folder: Path) -> None:
    """Let the framework write its files; skips the test where it is not there."""
    variable = f"EDGE_VISION_{framework.upper()}"
    python = os.environ.get(variable)
    if python is None:
        pytest.skip(f"{variable} does not name a Python with {framework}")
    what = {"torch": "torchscript"}.get(framework, framework)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(SCRIPT), what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=environment)
    assert done.returncode == 0, done.stderr


def _seen(edge_vision: Start, write_site: Callable[..., Path], model: Path, backend: str) -> list[dict[str, Any]]:
    site = write_site(
        cameras=[
            {
                "id": "line",
                "source": {"kind": "synthetic", "frames": FRAMES, "realtime": False},
                "pipeline": "object_detection",
                "with": {"model": str(model), "backends": [backend]},
            }
        ],
        publish=[{"kind": "jsonl", "path": "-"}],
    )
    output, errors = edge_vision("run", site).communicate(timeout=90)
    messages = [json.loads(line) for line in output.splitlines()]
    assert len(messages) == FRAMES, errors
    assert {message["model"]["backend"] for message in messages} == {backend}
    return messages


@pytest.mark.full
@pytest.mark.parametrize("framework, format_, file, layout, backend", ROWS)
def test_a_file_of_another_framework_sees_the_same(
    framework: str,
    format_: str,
    file: str,
    layout: str,
    backend: str,
    edge_vision: Start,
    write_site: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Fifty frames through `edge-vision run`: the same objects, scores within a thousandth, boxes within a pixel."""
    if format_ == "torchscript" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed beside the tests")
    folder = tmp_path / "made"
    _made(framework, folder)
    content = yaml.safe_load((PARTS / "model.yaml").read_text())
    content["files"] = [{"path": file, "format": format_}]
    content["input"]["layout"] = layout
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    expected = _seen(edge_vision, write_site, PARTS, "onnxruntime")
    found = _seen(edge_vision, write_site, folder, backend)
    objects, worst = 0, 0.0
    for one, other in zip(expected, found, strict=True):
        assert [item["class"] for item in one["objects"]] == [item["class"] for item in other["objects"]]
        for this, that in zip(one["objects"], other["objects"], strict=True):
            objects += 1
            worst = max(worst, abs(this["confidence"] - that["confidence"]))
            assert that["xyxy"] == pytest.approx(this["xyxy"], abs=1.0)
    print(f"{format_} on {backend}: {objects} objects, scores within {worst:.2g}")
    assert objects > FRAMES
    assert worst <= 1e-3
