"""Objects are counted exactly as people counted them: visits of a room, cars across a line; from the command line."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import write_vehicles
from commands import run

WHOLE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
ACROSS = [[0.0, 0.5], [1.0, 0.5]]


def _count(write_site: Callable[..., Path], clip: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every message of a run of `object_counting` over a clip."""
    out = clip.name + ".jsonl"
    source = {"kind": "file", "path": str(clip)}
    camera = {"id": "cam", "source": source, "pipeline": "object_counting", "with": settings}
    site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": out}])
    done = run("run", site)
    assert done.code == 0, done.errors
    return [json.loads(line) for line in (site.parent / out).read_text().splitlines()]


def test_six_people_visit_a_room(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """As counted by eye: each comes once, goes once, is one track, and is there when the eye saw him."""
    truth = json.loads((data / "video/ground_truth.json").read_text())["one-by-one-person-detection.mp4"]
    settings = {"model": str(yolox), "classes": ["person"], "zones": {"room": WHOLE}}
    messages = _count(write_site, data / "video/one-by-one-person-detection.mp4", settings)
    came = [one for one in messages if one["kind"] == "zone_entered"]
    went = [one for one in messages if one["kind"] == "zone_left"]
    assert len(came) == len(went) == truth["person_visits"] == 6
    assert [one["event"]["track_id"] for one in came] == [one["event"]["track_id"] for one in went]
    assert len({one["event"]["track_id"] for one in came}) == 6
    for entered, left, (first, last) in zip(came, went, truth["visit_frames"], strict=True):
        assert entered["event"]["class"] == "person"
        assert entered["event"]["occupancy"] == 1
        assert left["event"]["occupancy"] == 0
        assert abs(entered["frame"]["index"] - first) <= 10
        assert left["event"]["dwell_s"] == pytest.approx((last - first) / 10, abs=1.5)
    seen = [one for one in messages if one["kind"] == "detections"]
    assert len(seen) == 1394
    assert all("track_id" in found for one in seen for found in one["objects"])


def test_two_cars_go_up_and_two_down(data: Path, write_site: Callable[..., Path], tmp_path: Path) -> None:
    """Across the middle of the picture: down is from the left of the line to its right, "in"; each at its time."""
    truth = json.loads((data / "video/ground_truth.json").read_text())["car-detection.mp4"]
    model = write_vehicles(tmp_path / "vehicles", data)
    settings = {"model": str(model), "precision": "int8", "classes": ["vehicle"], "confidence": 0.3}
    settings["lines"] = {"gate": ACROSS}
    messages = _count(write_site, data / "video/car-detection.mp4", settings)
    crossed = [one for one in messages if one["kind"] == "line_crossed"]
    assert Counter(one["event"]["direction"] for one in crossed) == {
        "out": truth["crossings_up"],
        "in": truth["crossings_down"],
    }
    for one, known in zip(crossed, truth["events"], strict=True):
        assert one["event"]["direction"] == {"up": "out", "down": "in"}[known["dir"]]
        assert known["frames"][0] <= one["frame"]["index"] <= known["frames"][1]
    last = crossed[-1]["event"]
    assert last["counts"] == last["class_counts"] == {"in": 2, "out": 2}
    assert last["class"] == "vehicle"
    assert len({one["event"]["track_id"] for one in crossed}) == 4


def test_an_event_is_a_message_of_its_own_kind(data: Path, yolox: Path, write_site: Callable[..., Path]) -> None:
    """The envelope of every message, numbered by kind without a gap, with the frame it was seen in."""
    settings = {"model": str(yolox), "classes": ["person"], "zones": {"room": WHOLE}, "lines": {"gate": ACROSS}}
    messages = _count(write_site, data / "video/one-by-one-person-detection.mp4", settings)
    for kind in ("zone_entered", "zone_left", "line_crossed"):
        mine = [one for one in messages if one["kind"] == kind]
        assert [one["seq"] for one in mine] == list(range(1, len(mine) + 1))
        for one in mine:
            assert list(one) == ["schema", "kind", "id", "boot", "seq", "site", "source", "frame", "event"]
            assert one["id"] == f"{one['boot']}-cam-{kind}-{one['seq']}"
            assert list(one["frame"]) == ["index", "timestamp", "media_ms", "width", "height"]
    frames = [one["frame"]["index"] for one in messages]
    assert frames == sorted(frames)
