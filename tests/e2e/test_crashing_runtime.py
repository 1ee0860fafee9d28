"""A file that crashes a runtime is passed over; the site runs on the next one, or ends with a reason."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Start

CRASH = """
import os
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
