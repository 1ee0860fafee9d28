"""The pipeline `people_safety` on real clips, from the command line: who enters, who stays, who comes near."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run

WHOLE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]

TABLE = {"table": [[0.51, 0.72], [0.58, 0.64], [0.64, 0.72], [0.58, 0.77]]}
"""Where the feet of the table stand."""
BEYOND = [[0.0, 0.45], [0.19, 0.33], [0.52, 0.47], [0.22, 1.0], [0.0, 1.0]]
"""The floor on the far side of the tape."""


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


def test_six_visitors_come_stay_and_go(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """Each comes near the table once, stays for more than ten seconds, and goes: seen by the eye at these frames.

    The room is not calibrated: a visitor of 1.7 m is the ruler, and stands about a foot from the table's feet.
    """
    truth = json.loads((data / "video/ground_truth.json").read_text())["one-by-one-person-detection.mp4"]
    settings = {"model": str(yolox), "zones": {"room": WHOLE}, "dwell_s": 10.0, "proximity_m": 0.5, "machines": TABLE}
    messages = _watch(write_site, data / "video/one-by-one-person-detection.mp4", settings)
    came, late, near = (_of(messages, kind) for kind in ("zone_entered", "dwell_exceeded", "proximity"))
    assert len(came) == len(late) == truth["person_visits"] == 6
    assert [one["event"]["near"] for one in near] == [True, False] * 6
    visits = zip(came, late, near[::2], near[1::2], truth["visit_frames"], strict=True)
    for entered, stayed, reached, gone, (first, last) in visits:
        assert len({one["event"]["track_id"] for one in (entered, stayed, reached, gone)}) == 1
        assert stayed["event"]["limit_s"] == 10.0
        assert stayed["event"]["dwell_s"] == 10.0  # ten frames per second: told in the very frame
        assert abs(stayed["frame"]["index"] - (first + 100)) <= 10
        assert first <= reached["frame"]["index"] <= first + 30
        assert last - 30 <= gone["frame"]["index"] <= last + 20
        assert reached["event"]["machine"] == "table"
        assert 0.1 < gone["event"]["least_m"] < 0.5
        assert gone["event"]["lasted_s"] == pytest.approx((last - first) / 10, abs=3.0)
    dwelt = [found["attributes"]["dwell_s"] for one in _of(messages, "detections") for found in one["objects"]
             if "dwell_s" in found.get("attributes", {})]  # fmt: skip
    assert max(dwelt) == pytest.approx(26.7, abs=1.5)


def test_a_worker_steps_over_the_tape(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """Beyond the black and yellow tape: by eye his feet cross it between frames 28 and 48, and he stays there.

    Nothing else is told: nobody else is there, what he wears is no machine, and what is not given is switched off.
    """
    settings = {"model": str(yolox), "zones": {"press": BEYOND}, "dwell_s": 1.0, "proximity_m": 1.0, "presence_s": 1.0}
    messages = _watch(write_site, data / "video/worker-zone_h264.mp4", settings)
    told = [one for one in messages if one["kind"] not in {"detections", "status"}]
    assert [one["kind"] for one in told] == ["presence_changed", "zone_entered", "presence_changed", "dwell_exceeded"]
    empty, entered, occupied, stayed = told
    assert (empty["event"]["present"], occupied["event"]["present"]) == (False, True)
    assert 28 <= entered["frame"]["index"] <= 48
    # 60 ms per frame: the 17th frame after the one in which he came in is the first that is a second later
    assert stayed["frame"]["index"] == occupied["frame"]["index"] == entered["frame"]["index"] + 17
    assert stayed["event"]["dwell_s"] == 1.02


def test_what_is_not_given_is_switched_off(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """With a model alone people are followed, and nothing is told or measured."""
    messages = _watch(write_site, data / "video/worker-zone_h264.mp4", {"model": str(yolox)})
    assert {one["kind"] for one in messages} <= {"detections", "status"}
    assert all("attributes" not in found for one in _of(messages, "detections") for found in one["objects"])


def test_an_uncalibrated_floor_is_an_error_at_its_line(yolox: Path, write_site: Callable[..., Path]) -> None:
    """Two corners swapped: said once for each stage that has it, at the site's own line."""
    swapped = {"points": [[0.1, 0.9], [0.9, 0.9], [0.4, 0.3], [0.6, 0.3]], "meters": [[0, 0], [4, 0], [4, 9], [0, 9]]}
    settings = {"model": str(yolox), "proximity_m": 1.0, "calibration": swapped}
    camera = {"id": "cam", "source": {"kind": "synthetic"}, "pipeline": "people_safety", "with": settings}
    done = run("check", write_site(cameras=[camera]))
    assert done.code == 78
    assert "with.calibration: points and meters do not go around in the same order" in done.errors
    assert "are the 1st and the 2nd of one of them swapped?" in done.errors


def test_a_pipeline_of_ones_own_measures_a_walk(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """The other stages of places and times, from a file beside the site: the worker walks, stands, and leaves a trace.

    He is his own ruler. The camera looks down steeply, and he walks away from it: 0.35 to 0.65 m/s is what is left of
    his pace. By eye he stands from frame 52 on.
    """
    clip = data / "video/worker-zone_h264.mp4"
    site = write_site(
        cameras=[{"id": "cam", "source": {"kind": "file", "path": str(clip)}, "pipeline": "walk"}],
        publish=[{"kind": "jsonl", "path": "out.jsonl"}],
    )
    kinds = [{"kind": "detect", "model": str(yolox), "confidence": 0.1}, {"kind": "filter", "classes": ["person"]},
             {"kind": "tracker"}, {"kind": "speed", "limit_mps": 0.8}, {"kind": "distance"}, {"kind": "smooth"},
             {"kind": "heatmap", "columns": 8, "rows": 4, "period_s": 2}]  # fmt: skip
    (site.parent / "walk.yaml").write_text(yaml.safe_dump({"version": 1, "stages": kinds}))
    done = run("run", site)
    assert done.code == 0, done.errors
    messages = [json.loads(line) for line in (site.parent / "out.jsonl").read_text().splitlines()]
    speeds = {
        one["frame"]["index"]: found["attributes"]["speed_mps"]
        for one in _of(messages, "detections")
        for found in one["objects"]
        if "speed_mps" in found.get("attributes", {})
    }
    assert min(speeds) > 20  # until then he is cut off by the lower rim
    assert all(0.35 < speeds[index] < 0.65 for index in range(30, 48))
    assert _of(messages, "speed_exceeded") == []
    assert speeds[70] < 0.2
    maps = [one["event"] for one in _of(messages, "heatmap")]
    assert [one["since_s"] for one in maps] == [2.04, 4.08, 4.2]  # the last at the end of the recording
    assert sum(maps[1]["seconds"]) == pytest.approx(len(_of(messages, "detections")) * 0.06, abs=0.7)
    assert maps[1]["seconds"].index(max(maps[1]["seconds"])) == 8 * 3 + 2  # where he stands: x = 0.25, y = 0.79
