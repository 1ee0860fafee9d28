"""A site with servers at work, what it says, and whether it is what this machine alone would have said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from conftest import wait_until
from listeners import Heard

from edge_vision.cli.command import run_command

DETECTIONS, STATUS = "edge-vision/v1/test/gate/detections", "edge-vision/v1/test/status"


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]], threshold: float = 0.3) -> bool:
    """Whether two answers to a frame are one: another build of a runtime may round another way, and no more."""
    left = list(expected)
    for one in found:
        twin = next((other for other in left if _alike(one, other)), None)
        if twin is not None:
            left.remove(twin)
        elif one["confidence"] > threshold + 0.002:
            return False
    return all(one["confidence"] <= threshold + 0.002 for one in left)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    near = np.abs(np.subtract(one["xyxy"], other["xyxy"])).max() <= 0.5
    return bool(one["class"] == other["class"] and abs(one["confidence"] - other["confidence"]) <= 0.002 and near)


class Run:
    """A site at work, and what it says."""

    def __init__(self, heard: Heard, process: Any) -> None:
        self.heard = heard
        self.process = process

    def answers(self) -> list[dict[str, Any]]:
        """The messages so far."""
        return self.heard.on(DETECTIONS)

    def remote(self) -> dict[str, Any]:
        """What the newest status says of the servers, or nothing yet."""
        told = [status for status in self.heard.on(STATUS) if "models" in status]
        remote: dict[str, Any] = told[-1]["models"][0]["remote"] if told else {}
        return remote

    def states(self) -> list[str]:
        """The states of the servers."""
        return [server["state"] for server in self.remote().get("servers", ())]

    def end(self, code: int = 0) -> None:
        """End it in order, and hear all that it has to say."""
        self.process.terminate()
        assert self.process.wait(60) == code
        wait_until(lambda: self.heard.last(STATUS).get("state") == "offline", 60, "its last word")

    def wait_for_backend(self, name: str, frames: int = 10) -> None:
        """Wait until so many more frames were answered by a runtime."""
        done = len(self.answers())

        def enough() -> bool:
            assert self.process.poll() is None, self.process.stderr.read()
            return [one["model"]["backend"] for one in self.answers()[done:]].count(name) >= frames

        wait_until(enough, 60, f"{frames} frames by {name}")


def answers_of(source: dict[str, Any], bundle: Path, folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """The messages of a run to the end of a source, by ONNX Runtime on this machine unless `settings` say otherwise."""
    camera = {
        "id": "gate",
        "source": source,
        "pipeline": "object_detection",
        "with": {"model": str(bundle), "backends": ["onnxruntime"], "confidence": 0.3, **settings},
    }
    lines, site = folder / "answers.jsonl", folder / "answers.yaml"
    lines.unlink(missing_ok=True)
    publish = [{"kind": "jsonl", "path": str(lines)}]
    site.write_text(yaml.safe_dump({"version": 1, "site": "test", "cameras": [camera], "publish": publish}))
    assert run_command(["run", str(site)]) == 0
    return [json.loads(line) for line in lines.read_text().splitlines()]


def check_all(answers: list[dict[str, Any]], truth: list[list[dict[str, Any]]]) -> None:
    """No frame was answered wrongly, by whomever; `truth` has the objects of each frame of the clip."""
    wrong = [
        (one["frame"]["index"], one["model"]["backend"], one["objects"], truth[one["frame"]["index"] % len(truth)])
        for one in answers
        if not same(one["objects"], truth[one["frame"]["index"] % len(truth)])
    ]
    assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[:3]}"
