"""Three cameras share one inference: each gets its own objects, frame by frame, as without batching."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Start
from networks import with_batch_axis

FRAMES = 60
Objects = dict[tuple[str, int], list[dict[str, Any]]]


@pytest.fixture(name="bundle")
def _bundle(tmp_path: Path) -> Path:
    """The demo's detector with an open first axis, and its golden data."""
    folder = tmp_path / "parts"
    shutil.copytree(ROOT / "configs/demo/parts", folder)
    with_batch_axis(folder / "parts.onnx", folder / "open.onnx")
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["files"] = [{"path": "open.onnx", "format": "onnx"}]
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


def run(edge_vision: Start, write_site: Callable[..., Path], bundle: Path, **settings: Any) -> tuple[Objects, str]:
    """What each camera saw in each frame, and the log."""
    cameras = [
        {
            "id": f"line-{seed}",
            "source": {"kind": "synthetic", "frames": FRAMES, "seed": seed, "realtime": False},
            "pipeline": "object_detection",
            "with": {"model": str(bundle), "backends": ["onnxruntime"], **settings},
        }
        for seed in range(3)
    ]
    site = write_site(cameras=cameras, publish=[{"kind": "jsonl", "path": "-"}])
    process = edge_vision("run", site)
    output, log = process.communicate(timeout=100)
    assert process.returncode == 0, log
    messages = [json.loads(line) for line in output.splitlines()]
    for camera in ("line-0", "line-1", "line-2"):
        assert [one["frame"]["index"] for one in messages if one["source"] == camera] == list(range(FRAMES))
    return {(one["source"], one["frame"]["index"]): one["objects"] for one in messages}, log


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_frames_in_a_batch_keep_their_camera_and_order(
    runtime: str, edge_vision: Start, write_site: Callable[..., Path], bundle: Path
) -> None:
    """All 180 frames: the same objects, with scores and boxes that differ by rounding only."""
    alone, _ = run(edge_vision, write_site, bundle, backends=[runtime])
    started = time.monotonic()
    gathered, log = run(
        edge_vision, write_site, bundle, backends=[runtime], batching={"most": 3, "window_ms": 20, "always": True}
    )
    print(f"{3 * FRAMES} frames in batches: {time.monotonic() - started:.1f} s with the start")
    assert "frames are not gathered" not in log
    assert gathered.keys() == alone.keys()
    assert sum(map(len, alone.values())) > 200
    for key, objects in alone.items():
        assert [one["class"] for one in gathered[key]] == [one["class"] for one in objects]
        for one, other in zip(gathered[key], objects, strict=True):
            assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)
            assert one["xyxy"] == pytest.approx(other["xyxy"], abs=0.1)


def test_a_model_without_a_batch_axis_is_served_frame_by_frame(
    edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """What was asked for and cannot be is said, and nothing is lost."""
    _, log = run(edge_vision, write_site, ROOT / "configs/demo/parts", batching={"most": 3, "always": True})
    assert "frames are not gathered: the model has no batch axis: its input is images [1, 3, 192, 320] float32" in log
