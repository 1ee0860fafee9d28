"""Clips of events: before and after, shared, cut short, begun anew."""

from pathlib import Path

import cv2
import jsonschema
import numpy as np
from conftest import wait_until
from evidence_site import MOVED, STEP_NS, running

from edge_vision.core.detections import Detections
from edge_vision.core.scene import Scene
from edge_vision.publish.schema import message_schema
from edge_vision.testing.fakes import make_frame


def _levels(file: Path) -> list[float]:
    """The mean of each picture of a clip."""
    reader = cv2.VideoCapture(str(file))
    found = []
    for _ in range(10_000):
        ok, picture = reader.read()
        if not ok:
            break
        found.append(float(np.mean(picture)))
    reader.release()
    return found


def test_a_clip_shows_what_was_before_and_after(tmp_path: Path) -> None:
    """Its media times are those of the frames; the event's own frame is in it, though it was not its turn."""
    with running(tmp_path, clip={"before_s": 1, "after_s": 1, "sample_fps": 2.5}) as site:
        for number in range(40):
            site.see(*([MOVED] if number == 20 else []), level=5 * number + 20)
    first, last = (one["evidence"] for one in site.told)
    assert (first["pending"], last["pending"], last["missing"]) == (["clip"], [], [])
    assert last["files"][:2] == first["files"]
    clip = last["files"][2]
    assert (clip["type"], clip.get("shorter")) == ("clip", None)
    # The event is at 4200 ms; frames are sampled every 400 ms.
    assert clip["first_ms"] in {3000, 3200}
    assert 5200 <= clip["last_ms"] <= 5600
    levels = _levels(tmp_path / clip["path"])
    assert any(abs(level - 120) < 4 for level in levels), levels
    assert len(levels) in {6, 7, 8}
    assert levels == sorted(levels)
    assert len([level for level in levels if 108 < level < 133]) == 4, (
        "the event's frame is one more than those sampled"
    )
    jsonschema.validate(site.told[-1], message_schema())


def test_a_clip_that_is_cut_short_says_so(tmp_path: Path) -> None:
    """The recording began late and ended early: both are told, with what there is."""
    with running(tmp_path, clip={"before_s": 5, "after_s": 5}) as site:
        for number in range(10):
            site.see(*([MOVED] if number == 5 else []))
    clip = site.told[-1]["evidence"]["files"][2]
    assert clip["shorter"] == ("begins 1.0 s before the event, not 5; ends 0.8 s after the event, not 5: the run ended")


def test_events_that_follow_each_other_share_a_clip(tmp_path: Path) -> None:
    """Each of a hundred in a row is in the clip that its message names, and there are few of those."""
    with running(tmp_path, clip={"before_s": 2, "after_s": 2}) as site:
        sent = {
            message.id: number for number in range(1000) for message in site.see(*([MOVED] if number % 10 == 5 else []))
        }
        wait_until(lambda: site.keeper.facts()["waiting"] == 0, 60, "the queue is empty")
    assert len(sent) == 100
    assert set(site.last) == set(sent)
    clips = {}
    for of, kept in site.last.items():
        clip = kept["files"][-1]
        at_ms = (sent[of] + 1) * 200
        assert clip["type"] == "clip", kept
        assert clip["first_ms"] <= max(200, at_ms - 2000)
        assert clip["last_ms"] >= min(at_ms + 2000, 200_000)
        clips[clip["path"]] = clip
    assert len(clips) == 4
    covered_s = sum(clip["last_ms"] - clip["first_ms"] for clip in clips.values()) / 1000
    assert covered_s < 1.2 * 200
    assert [one["seq"] for one in site.told] == list(range(1, 201))


def test_a_camera_whose_clock_begins_anew_gets_another_clip(tmp_path: Path) -> None:
    """The one that was being written ends there."""
    with running(tmp_path, clip={"before_s": 1, "after_s": 60}) as site:
        for number in range(10):
            site.see(*([MOVED] if number == 5 else []))
        wait_until(lambda: site.keeper.facts()["waiting"] == 0, 60, "the queue is empty")
        site._number = 0
        for number in range(5):
            frame = make_frame(index=100 + number, media_ns=number * STEP_NS)
            scene = Scene(frame, Detections.empty(), (MOVED,) if number == 3 else ())
            site.keeper.hear(scene, site.wire.events(scene))
    clips = [one["evidence"]["files"][2] for one in site.told if not one["evidence"]["pending"]]
    assert [(clip["first_ms"], clip["last_ms"]) for clip in clips] == [(200, 2000), (0, 800)]
    assert clips[0]["shorter"].endswith("the camera's clock began anew")
