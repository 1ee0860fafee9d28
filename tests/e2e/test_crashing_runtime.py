"""A file that crashes a runtime is passed over; the site runs on the next one, or ends with a reason."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import models
from conftest import ROOT, Start

CRASH = """
import os
import shutil
__version__ = "0.0"
def get_available_providers():
    return ["CPUExecutionProvider"]
class SessionOptions:
    def add_session_config_entry(self, key, value):
        pass
class InferenceSession:
    def __init__(self, *arguments, **options):
        {action}
"""


@pytest.mark.parametrize(
    "action,reason", [("os.abort()", "crashed (SIGABRT)"), ("os.kill(os.getpid(), 11)", "crashed (SIGSEGV)")]
)
def test_a_crashing_runtime_is_passed_over(
    action: str,
    reason: str,
    data: Path,
    yolox: Path,
    edge_vision: Start,
    write_site: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The daemon lives, serves with the next candidate, and says why; alone, it ends with 78."""
    (tmp_path / "onnxruntime.py").write_text(CRASH.format(action=action))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for backends, code in ((["onnxruntime", "opencv_dnn"], 0), (["onnxruntime"], 78)):
        site = write_site(
            cameras=[
                {
                    "id": "c",
                    "source": {"kind": "file", "path": str(data / "video/one-by-one-person-detection.mp4")},
                    "pipeline": "object_detection",
                    "with": {"model": str(yolox), "backends": backends},
                }
            ],
            publish=[{"kind": "jsonl", "path": str(tmp_path / "out.jsonl")}],
        )
        process = edge_vision("run", site, "--max-seconds", "2", env=environment)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert f"{reason} in a trial" in errors
        assert "Traceback" not in errors
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert any(line["kind"] == "detections" and line["model"]["backend"] == "opencv_dnn" for line in lines), lines[0]


@pytest.mark.parametrize(
    "command, code",
    [("bench", 1), ("verify", 1), ("golden", 78), ("eval", 78), ("check", 78), ("convert", 70)],
)
def test_a_crashing_runtime_takes_no_command_with_it(
    command: str, code: int, data: Path, proven: Path, tmp_path: Path
) -> None:
    """Each says what became of the runtime, and ends by itself."""
    (tmp_path / "onnxruntime.py").write_text(CRASH.format(action="os.abort()"))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    bundle, pictures = tmp_path / "yolox_nano", data / "images/coco_det_ccby"
    shutil.copytree(proven, bundle)
    more: dict[str, list[str | Path]] = {
        "golden": ["--images", pictures],
        "convert": ["--to", "tflite", "--tool", "true", "-o", tmp_path / "new"],
        "eval": ["--coco", pictures / "annotations.json", "--images", pictures, "--backend", "onnxruntime"],
    }
    only: list[str | Path] = ["--backend", "onnxruntime"]
    done = models(command, bundle, *more.get(command, only), env=environment)
    assert done.code == code, done.output + done.errors
    assert "crashed (SIGABRT) in a trial" in done.output + done.errors
