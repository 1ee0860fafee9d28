"""The commands that look: probe, try, schema, and what they say when they cannot."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, Start
from demo_site import camera

from edge_vision.inference.table import BACKENDS

PARTS = ROOT / "configs/demo/parts"
CLIP = ROOT / "configs/demo/conveyor.mp4"


def test_probe_tells_machine_runtimes_and_reasons(edge_vision: Start) -> None:
    """As JSON and as text: every runtime of the table, with version and devices, or the reason why not."""
    output, errors = edge_vision("probe", "--json").communicate(timeout=60)
    facts = json.loads(output)
    assert facts["machine"]["cores"] >= 1, errors
    assert facts["machine"]["memory_mb"] > 100
    names = [backend["name"] for backend in facts["backends"]]
    assert names == list(BACKENDS)
    for backend in facts["backends"]:
        assert backend["reason"]
        if backend["name"] in {"openvino", "onnxruntime", "opencv_dnn"}:  # others need a GPU, or are not installed
            assert backend["available"] is True
            assert "CPU" in backend["devices"]
    text, _ = edge_vision("probe").communicate(timeout=60)
    assert all(name in text for name in names)


def test_try_draws_the_known_dog(data: Path, yolox: Path, edge_vision: Start, tmp_path: Path) -> None:
    """The picture has boxes where the dog and the bicycle are, and is unchanged elsewhere."""
    picture, drawn = data / "images/misc/dog.jpg", tmp_path / "out.png"
    process = edge_vision("try", picture, "--model", yolox, "-o", drawn)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "1 dog" in output
    assert "1 bicycle" in output
    before, after = cv2.imread(str(picture)), cv2.imread(str(drawn))
    assert before is not None
    assert after is not None
    changed = np.abs(before.astype(int) - after.astype(int)).max(axis=2) > 40
    expected = json.loads((data / "expected/dog_detections.json").read_text())["yolox_nano.onnx"]
    for item in expected[:3]:
        left, top, right, bottom = (round(value) for value in item["xyxy"])
        assert changed[top - 2 : top + 3, left:right].any(axis=0).mean() > 0.9, item["label"]
        assert changed[bottom - 2 : bottom + 3, left:right].any(axis=0).mean() > 0.9, item["label"]
    assert 0.005 < changed.mean() < 0.1


def test_try_draws_every_frame_of_a_clip(edge_vision: Start, tmp_path: Path) -> None:
    """As many frames out as in, of the same size, with settings from the command line."""
    drawn = tmp_path / "out.mp4"
    process = edge_vision("try", CLIP, "--model", PARTS, "--with", "classes=[washer]", "-o", drawn)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "500 frames" in output
    assert "washer" in output
    assert "bolt" not in output
    capture = cv2.VideoCapture(str(drawn), cv2.CAP_FFMPEG)
    size = (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    assert (*size, capture.get(cv2.CAP_PROP_FRAME_COUNT)) == (640, 360, 500)
    capture.release()


def test_try_never_writes_over_its_input(edge_vision: Start, tmp_path: Path) -> None:
    """Also when the two are spelt differently."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(CLIP.read_bytes())
    process = edge_vision("try", clip, "--model", PARTS, "-o", f"../{tmp_path.name}/clip.mp4", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is the input" in errors
    assert clip.read_bytes() == CLIP.read_bytes()


@pytest.mark.parametrize(
    "arguments,code,words",
    [
        (["absent.png", "-o", "out.png"], 70, "absent.png: no such file"),
        ([str(CLIP), "-o", "out.png"], 2, "a clip goes to a clip"),
        ([str(CLIP), "-o", "out.xyz"], 2, "write to a picture"),
        ([str(CLIP), "-o", "nowhere/out.mp4"], 78, "cannot be written"),
        ([str(CLIP), "-o", "out.mp4", "--pipeline", "object_detektion"], 78, "did you mean object_detection?"),
        ([str(CLIP), "-o", "out.mp4", "--with", "confidence=2"], 78, "must be at most 1, not 2"),
        ([str(CLIP), "-o", "out.mp4", "--with", "confidence"], 78, "write KEY=VALUE"),
        ([str(CLIP), "-o", "out.mp4", "--with", "classes=[nut]"], 78, "the model has no label 'nut'"),
    ],
)
def test_try_says_what_is_wrong(
    arguments: list[str], code: int, words: str, edge_vision: Start, tmp_path: Path
) -> None:
    """A sentence with the thing and the limit, the right exit code, and no traceback."""
    process = edge_vision("try", *arguments, "--model", PARTS, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert words in errors
    assert "Traceback" not in errors


def test_check_needs_no_runtime_and_is_quick(edge_vision: Start, tmp_path: Path) -> None:
    """`check` works where neither OpenCV nor a runtime can be imported: on anybody's laptop."""
    for name in ("cv2", "onnxruntime", "openvino"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not on this machine')\n")
    process = edge_vision("check", ROOT / "configs/demo.yaml", env={"PYTHONPATH": str(tmp_path), "PATH": "/bin"})
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "ok, cameras: 1, models: 1" in output


def test_check_says_what_is_missing_to_open_a_camera(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """The file is right, and may be meant for another machine: it says so and ends with 0; `run` ends with 78."""
    hidden = "import sys\nsys.modules['av'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/bin"}
    source = {"kind": "av", "url": "rtsp://127.0.0.1:1/line"}
    cameras = [camera(kind="synthetic"), {**camera(), "id": "gate", "source": source}]
    site = write_site(cameras=cameras, publish=[{"kind": "jsonl", "path": "-"}])
    words = "av is not installed: pip install 'edge-vision[av]'"
    process = edge_vision("check", site, env=environment)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert [line for line in output.splitlines() if line.startswith("camera ")] == [
        f"camera gate: cannot be opened on this machine: {words}"
    ]
    process = edge_vision("run", site, env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert words in errors
    output, _ = edge_vision("check", site).communicate(timeout=60)
    assert "cannot be opened" not in output


def test_a_missing_library_names_the_extra(edge_vision: Start, tmp_path: Path) -> None:
    """Without what reads the camera a site ends with 78 and says what would bring it; `probe` says it of each."""
    for name in ("cv2", "onnxruntime", "openvino"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no such module', name={name!r})\n")
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/bin"}
    process = edge_vision("demo", env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "cv2 is not installed: pip install 'edge-vision[cpu]'" in errors
    output, _ = edge_vision("probe", env=environment).communicate(timeout=60)
    assert "openvino is not installed: pip install 'edge-vision[openvino]'" in output
    assert "onnxruntime is not installed: pip install 'edge-vision[cpu]'" in output
