"""The pipeline `people_safety` on real clips, from the command line: who enters, who stays, who comes near."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run

WHOLE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def _watch(write_site: Callable[..., Path], clip: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every message of a run of `people_safety` over a clip."""
    source = {"kind": "file", "path": str(clip)}
    camera = {"id": "cam", "source": source, "pipeline": "people_safety", "with": settings}
    site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "out.jsonl"}])
    done = run("run", site)
    assert done.code == 0, done.errors
    return [json.loads(line) for line in (site.parent / "out.jsonl").read_text().splitlines()]


def _of(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in messages if one["kind"] == kind]


def test_six_visits_of_which_each_takes_too_long(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """Every visitor stays for more than ten seconds; the eye saw him come that long before it is told."""
    truth = json.loads((data / "video/ground_truth.json").read_text())["one-by-one-person-detection.mp4"]
    settings = {"model": str(yolox), "zones": {"room": WHOLE}, "dwell_s": 10.0}
    messages = _watch(write_site, data / "video/one-by-one-person-detection.mp4", settings)
    came, late = _of(messages, "zone_entered"), _of(messages, "dwell_exceeded")
    assert len(came) == len(late) == truth["person_visits"] == 6
    for entered, stayed, (first, _) in zip(came, late, truth["visit_frames"], strict=True):
        assert stayed["event"]["track_id"] == entered["event"]["track_id"]
        assert stayed["event"]["limit_s"] == 10.0
        assert stayed["event"]["dwell_s"] == 10.0  # ten frames per second: told in the very frame
        assert abs(stayed["frame"]["index"] - (first + 100)) <= 10
    dwelt = [found["attributes"]["dwell_s"] for one in _of(messages, "detections") for found in one["objects"]
             if found["class"] == "person" and "attributes" in found]  # fmt: skip
    assert max(dwelt) == pytest.approx(26.7, abs=1.5)
