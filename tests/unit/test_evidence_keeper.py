"""Evidence of events: what is kept, and what is told of it."""

import threading
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import msgspec
import numpy as np
import pytest
from evidence_site import MOVED, STEP_NS, Site, names_in, running
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import EvidenceError
from edge_vision.core.events import InspectedPart, LineCrossed, Verdict
from edge_vision.core.scene import Scene
from edge_vision.publish.evidence.samples import encoded
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.schema import message_schema
from edge_vision.publish.wire import EvidenceFile
from edge_vision.testing.fakes import make_frame


def _verdict(verdict: Any) -> Verdict:
    part = InspectedPart(track_id=1, class_name="part")
    return Verdict(verdict=verdict, reasons=(), part=part, views=1, counts={})


def test_pictures_of_an_event_are_kept_and_told(tmp_path: Path) -> None:
    """Drawn and clean, with checksums that hold; other kinds of events have none."""
    with running(tmp_path / "e") as site:
        crossed = LineCrossed(line="a", direction="in", class_name="x", track_id=1, counts={}, class_counts={})
        (message, _) = site.see(MOVED, crossed, level=100)
        site.see(crossed)
    (told,) = site.told
    assert told["evidence"]["of"] == message.id
    assert told["evidence"]["event_kind"] == "motion_changed"
    assert (told["seq"], told["source"], told["evidence"]["pending"], told["evidence"]["missing"]) == (1, "cam", [], [])
    drawn, clean = told["evidence"]["files"]
    assert (drawn["type"], clean["type"]) == ("snapshot", "clean")
    for file in (drawn, clean):
        content, _ = site.keeper.fetch(file["path"], 0, 100_000)
        assert len(content) == file["bytes"]
        picture = cv2.imread(str(tmp_path / "e" / file["path"]))
        assert picture is not None
        assert picture.shape == (file["height"], file["width"], 3)
    picture = cv2.imread(str(tmp_path / "e" / clean["path"]))
    assert picture is not None
    assert abs(float(picture.mean()) - 100) < 2
    jsonschema.validate(told, message_schema())
    assert site.keeper.facts() == {
        "events": 1, "written": 2, "dropped": 0, "missing": 0, "left_out": 0, "removed": 0,
        "bytes": drawn["bytes"] + clean["bytes"], "waiting": 0,
    }  # fmt: skip


def test_what_is_missing_is_told_with_the_reason(tmp_path: Path) -> None:
    """Pictures for which there is no memory: the event's message says so, and nothing waits."""
    site = Site(tmp_path, {"queue_mb": 0.02})
    for _ in range(5):
        site.see(MOVED)
    assert site.keeper.facts()["dropped"] == 3
    site.keeper.start()
    assert site.keeper.finish(60)
    missing = [one["evidence"]["missing"] for one in site.told]
    reason = "too many pictures wait to be written (queue_mb)"
    nothing = [{"type": "snapshot", "reason": reason}, {"type": "clean", "reason": reason}]
    assert missing == [[], [], nothing, nothing, nothing]
    assert site.keeper.facts()["missing"] == 6
    site = Site(tmp_path, {"queue_mb": 0.001})
    site.see(MOVED)
    site.keeper.start()
    assert site.keeper.finish(60)
    assert site.told[0]["evidence"]["missing"] == [], "one picture is always taken"


def test_events_so_soon_after_one_are_left_out_and_counted(tmp_path: Path) -> None:
    """In media time, per camera and kind; the next message says how many there were."""
    with running(tmp_path, ("cam", "other"), cooldown_s=1.0, kinds=["motion_changed", "verdict"]) as site:
        for _ in range(11):
            site.see(MOVED)
        site.see(_verdict("OK"))
        site.see(MOVED, source="other")
    told = [(one["source"], one["evidence"]["event_kind"], one["evidence"]["left_out"]) for one in site.told]
    assert told == [
        ("cam", "motion_changed", 0), ("cam", "motion_changed", 4), ("cam", "motion_changed", 4), ("cam", "verdict", 0),
        ("other", "motion_changed", 0),
    ]  # fmt: skip
    assert site.keeper.facts()["left_out"] == 8


def test_of_verdicts_those_that_are_asked_for(tmp_path: Path) -> None:
    """Parts that are OK need no evidence where the site says so."""
    with running(tmp_path, kinds=["verdict"], verdicts=["NG"], snapshot=["clean"]) as site:
        wanted = [site.see(_verdict(verdict))[0].id for verdict in ("OK", "NG", "NOT_INSPECTED", "NG")]
    assert [one["evidence"]["of"] for one in site.told] == [wanted[1], wanted[3]]


def test_what_is_told_at_the_end_of_a_recording_shows_its_last_frame(tmp_path: Path) -> None:
    """The scene that tells it has no picture of its own."""
    with running(tmp_path, clip={"before_s": 1, "after_s": 1}) as site:
        for _ in range(9):
            site.see(level=150)
        frame = make_frame(np.zeros((48, 64, 3), np.uint8), index=9, media_ns=9 * STEP_NS)
        scene = Scene(frame, Detections.empty(), (MOVED,))
        site.keeper.hear(scene, site.wire.events(scene))
    clean = site.last[site.told[0]["evidence"]["of"]]["files"][1]
    picture = cv2.imread(str(tmp_path / clean["path"]))
    assert picture is not None
    assert abs(float(picture.mean()) - 150) < 2
    assert site.told[-1]["evidence"]["files"][2]["last_ms"] == 1800


def test_a_bug_in_the_writer_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at the start nor later: events after it have their pictures."""
    tidy, fails = Store.tidy, [True]

    def sometimes(store: Store) -> None:
        if fails:
            fails.clear()
            raise KeyError("a bug")
        tidy(store)

    monkeypatch.setattr(Store, "tidy", sometimes)
    with running(tmp_path) as site:
        site.see(MOVED)
    assert [one["type"] for one in site.told[-1]["evidence"]["files"]] == ["snapshot", "clean"]


def test_a_picture_can_be_asked_for(tmp_path: Path) -> None:
    """The next frame of a camera, drawn or clean; what is not there is told within the limit."""
    with running(tmp_path, ("cam", "silent"), kinds=[]) as site:
        done = threading.Event()

        def frames() -> None:
            while not done.wait(0.01):
                site.see(level=77)

        camera = threading.Thread(target=frames)
        camera.start()
        try:
            asked = [site.keeper.ask_snapshot("cam", "clean"), site.keeper.ask_snapshot("cam")]
            assert all(one.done.wait(60) for one in asked)
        finally:
            done.set()
            camera.join()
        file, drawn = (one.outcome for one in asked)
        assert isinstance(file, EvidenceFile)
        assert isinstance(drawn, EvidenceFile)
        assert (file.type, drawn.type, file.width, file.height) == ("clean", "snapshot", 64, 48)
        assert site.keeper.fetch(file.path, 10, 10_000)[1] == file.bytes
        silent = site.keeper.ask_snapshot("silent", "clean")
        assert silent.outcome is None
        assert silent.give_up() == "no frame came"
        assert silent.give_up() == "the picture was not written"
        assert not site.keeper._cameras["silent"].asked
        with pytest.raises(EvidenceError, match=r"no evidence of 'came'; did you mean cam\?"):
            site.keeper.ask_snapshot("came")
    assert site.told == []
    assert len(names_in(tmp_path)) == 2


def test_a_picture_that_is_given_up_is_not_written(tmp_path: Path) -> None:
    """Whoever asked was told that there is none: no file is left that nobody knows of."""
    site = Site(tmp_path, {"kinds": []})
    asked, wanted = site.keeper.ask_snapshot("cam"), site.keeper.ask_snapshot("cam")
    site.see()
    assert asked.give_up() == "the picture was not written"
    site.keeper.start()
    assert site.keeper.finish(20)
    assert isinstance(wanted.outcome, EvidenceFile)
    assert (asked.outcome, names_in(tmp_path)) == (None, [wanted.outcome.path])


def test_a_mistake_in_the_code_concerns_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread lives on; the loss is counted."""
    failures = iter([True])

    def encode(image: NDArray[np.uint8], quality: int) -> bytes:
        if next(failures, False):
            msg = "a bug"
            raise TypeError(msg)
        return encoded(image, quality)

    monkeypatch.setattr("edge_vision.publish.evidence.writing.encoded", encode)
    with running(tmp_path) as site:
        site.see(MOVED)
        site.see(MOVED)
    assert [one["seq"] for one in site.told] == [1, 2]
    first, second = (one["evidence"] for one in site.told)
    assert first["missing"][0] == {"type": "snapshot", "reason": "TypeError: a bug"}
    assert [one["type"] for one in second["files"]] == ["snapshot", "clean"]
    assert site.keeper.facts()["missing"] == 1


def test_the_status_has_the_fields_of_its_schema() -> None:
    """What the keeper says is what the schema of statuses allows."""
    from edge_vision.publish.status import _Evidence

    site = Site(Path("unused"), {})
    assert msgspec.convert(site.keeper.facts(), _Evidence).events == 0
    assert set(site.keeper.facts()) <= set(_Evidence.__struct_fields__)
