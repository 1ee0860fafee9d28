"""Evidence of events: what is kept, what is told, and that neither memory nor disk runs over."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import msgspec
import numpy as np
import pytest
from conftest import wait_until
from numpy.typing import NDArray

from edge_vision.app.supervisor import Supervisor
from edge_vision.core.detections import Detections
from edge_vision.core.errors import EvidenceError
from edge_vision.core.events import Event, InspectedPart, LineCrossed, MotionChanged, Verdict
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.evidence import keeper as keeper_module
from edge_vision.publish.evidence.ages import LEDGER
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.evidence.samples import encoded
from edge_vision.publish.evidence.store import Store, Stored
from edge_vision.publish.evidence.writing import Watched
from edge_vision.publish.schema import message_schema
from edge_vision.publish.wire import Evidence, EvidenceFile, Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.systemd import Notifier
from edge_vision.testing.fakes import make_frame

MOVED = MotionChanged(moving=True, area=0.1)
STEP_NS = 200_000_000


def _verdict(verdict: Any) -> Verdict:
    part = InspectedPart(track_id=1, class_name="part")
    return Verdict(verdict=verdict, reasons=(), part=part, views=1, counts={})


class Site:
    """A keeper at work in a folder, and everything that it told."""

    def __init__(self, folder: Path, options: dict[str, Any], cameras: tuple[str, ...] = ("cam",)) -> None:
        self.options = EvidenceOptions.model_validate({"kinds": ["motion_changed"], **options})
        self.folder = folder
        clock = SystemClock()
        self.wire = Wire("site", "boot", clock)
        self.told: list[dict[str, Any]] = []
        most, age_s = int(self.options.max_mb * 1e6), self.options.max_age_h * 3600
        store = Store(folder, most, age_s, clock)
        watched = {name: Watched() for name in cameras}
        self.keeper = EvidenceKeeper(self.options, store, watched, self._put, clock)
        self._number = 0

    def _put(self, source: str, kept: Evidence) -> None:
        message = self.wire.evidence(source, kept)
        self.told.append(json.loads(message.body))

    def see(
        self, *events: Event, level: int = 0, source: str = "cam", image: NDArray[np.uint8] | None = None
    ) -> list[Message]:
        """The next frame, 200 ms behind the last; the messages of its events."""
        self._number += 1
        picture = np.full((48, 64, 3), level % 256, np.uint8) if image is None else image
        frame = make_frame(
            picture, index=self._number, source_id=source, clock=SystemClock(), media_ns=self._number * STEP_NS
        )
        scene = Scene(frame, Detections.empty(), events)
        messages = self.wire.events(scene)
        self.keeper.hear(scene, messages)
        return messages

    @property
    def last(self) -> dict[str, dict[str, Any]]:
        """The last that was told of each event."""
        return {one["evidence"]["of"]: one["evidence"] for one in self.told}


@contextmanager
def _running(folder: Path, cameras: tuple[str, ...] = ("cam",), **options: Any) -> Iterator[Site]:
    site = Site(folder, options, cameras)
    site.keeper.start()
    try:
        yield site
    finally:
        assert site.keeper.finish(60)


def _size(folder: Path) -> int:
    total = 0
    for name in _names(folder):
        with suppress(FileNotFoundError):
            total += (folder / name).stat().st_size
    return total


def _names(folder: Path) -> list[str]:
    there = folder.iterdir() if folder.exists() else ()
    return sorted(entry.name for entry in there if entry.name != LEDGER)


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


def test_pictures_of_an_event_are_kept_and_told(tmp_path: Path) -> None:
    """Drawn and clean, with checksums that hold; other kinds of events have none."""
    with _running(tmp_path / "e") as site:
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


def test_a_clip_shows_what_was_before_and_after(tmp_path: Path) -> None:
    """Its media times are those of the frames; the event's own frame is in it, though it was not its turn."""
    with _running(tmp_path, clip={"before_s": 1, "after_s": 1, "sample_fps": 2.5}) as site:
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
    with _running(tmp_path, clip={"before_s": 5, "after_s": 5}) as site:
        for number in range(10):
            site.see(*([MOVED] if number == 5 else []))
    clip = site.told[-1]["evidence"]["files"][2]
    assert clip["shorter"] == ("begins 1.0 s before the event, not 5; ends 0.8 s after the event, not 5: the run ended")


def test_events_that_follow_each_other_share_a_clip(tmp_path: Path) -> None:
    """Each of a hundred in a row is in the clip that its message names, and there are few of those."""
    with _running(tmp_path, clip={"before_s": 2, "after_s": 2}) as site:
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


def test_the_quota_holds_under_a_thousand_events(tmp_path: Path) -> None:
    """At every moment, across a restart too; what is removed is counted, and whole sets go."""
    largest = 0
    watching = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not watching.wait(0.02):
            largest = max(largest, _size(tmp_path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    noise = np.random.default_rng(3).integers(0, 255, (72, 96, 3), np.uint8)
    try:
        for _ in range(2):
            with _running(tmp_path, max_mb=1, snapshot=["clean"], clip={"before_s": 1, "after_s": 1}) as site:
                for _ in range(500):
                    site.see(MOVED, image=noise)
                wait_until(lambda: site.keeper.facts()["waiting"] == 0, 100, "all is written")
                facts = site.keeper
            assert facts.facts()["removed"] > 0
            assert facts.facts()["bytes"] == _size(tmp_path) <= 1_000_000
            assert len(site.last) == 500
    finally:
        watching.set()
        watcher.join()
    assert 500_000 < largest <= 1_000_000
    sets: dict[str, list[str]] = {}
    for name in _names(tmp_path):
        sets.setdefault(name.partition(".cam")[0], []).append(name)
    complete = [names for names in sets.values() if any(name.endswith(".mp4") for name in names)]
    assert len(complete) == len(sets)


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


def test_memory_is_given_back(tmp_path: Path) -> None:
    """What was written makes room for what comes."""
    with _running(tmp_path, queue_mb=0.02) as site:
        for _ in range(6):
            site.see(MOVED)
            wait_until(lambda: site.keeper.facts()["waiting"] == 0, 60, "it is written")
    assert [one["evidence"]["missing"] for one in site.told] == [[]] * 6
    assert site.keeper._held == 0


def test_what_a_full_queue_forgets_is_counted_and_answered(tmp_path: Path) -> None:
    """Who waits for a picture hears of it at once."""
    site = Site(tmp_path, {})
    asked = site.keeper.ask_snapshot("cam")
    site.see(MOVED)
    site.keeper._queue.cancel()
    assert asked.done.wait(60)
    assert asked.outcome == "too many pictures wait to be written (queue_mb)"
    assert (site.keeper.facts()["dropped"], site.keeper.facts()["missing"], site.keeper._held) == (1, 1, 0)


def test_a_disk_that_cannot_be_written_to_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log, with every event in the messages; when it works again so does evidence."""
    place = tmp_path / "e"
    place.write_text("in the way")
    with caplog.at_level(logging.INFO, "edge_vision"), _running(place, clip={"before_s": 1, "after_s": 0.2}) as site:
        for number in range(8):
            site.see(*([MOVED] if number % 2 else []))
        wait_until(lambda: len(site.told) >= 8, 60, "all four are told of, twice")
        assert "cannot be written" in site.keeper.facts()["error"]
        place.unlink()
        site.see(MOVED)
        site.see()
        site.see()
        wait_until(lambda: "error" not in site.keeper.facts(), 60, "all is well")
    for kept in list(site.last.values())[:4]:
        assert [one["type"] for one in kept["missing"]] == ["snapshot", "clean", "clip"]
        assert all("cannot be written: File exists" in one["reason"] for one in kept["missing"])
    assert [one["type"] for one in site.told[-1]["evidence"]["files"]] == ["snapshot", "clean", "clip"]
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert logged == [f"evidence in {place}: cannot be written: File exists; analysis goes on"]


def test_events_so_soon_after_one_are_left_out_and_counted(tmp_path: Path) -> None:
    """In media time, per camera and kind; the next message says how many there were."""
    with _running(tmp_path, ("cam", "other"), cooldown_s=1.0, kinds=["motion_changed", "verdict"]) as site:
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
    with _running(tmp_path, kinds=["verdict"], verdicts=["NG"], snapshot=["clean"]) as site:
        wanted = [site.see(_verdict(verdict))[0].id for verdict in ("OK", "NG", "NOT_INSPECTED", "NG")]
    assert [one["evidence"]["of"] for one in site.told] == [wanted[1], wanted[3]]


def test_what_is_told_at_the_end_of_a_recording_shows_its_last_frame(tmp_path: Path) -> None:
    """The scene that tells it has no picture of its own."""
    with _running(tmp_path, clip={"before_s": 1, "after_s": 1}) as site:
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


def test_a_camera_whose_clock_begins_anew_gets_another_clip(tmp_path: Path) -> None:
    """The one that was being written ends there."""
    with _running(tmp_path, clip={"before_s": 1, "after_s": 60}) as site:
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


class _Hanging:
    """A disk that does not answer until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.answers.set()
        save, fetch = Store.save, Store.fetch

        def slow_save(store: Store, name: str, content: bytes) -> Stored:
            self.answers.wait(60)
            return save(store, name, content)

        def slow_fetch(store: Store, path: str, offset: int, length: int) -> tuple[bytes, int]:
            self.answers.wait(60)
            return fetch(store, path, offset, length)

        monkeypatch.setattr(Store, "save", slow_save)
        monkeypatch.setattr(Store, "fetch", slow_fetch)
        monkeypatch.setattr(keeper_module, "_LIMIT_S", 3.0)
        monkeypatch.setattr(keeper_module, "_READ_S", 1.0)


def test_a_folder_that_hangs_is_told_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the stack; the site is degraded and goes on, and so does evidence when the folder answers again."""
    caplog.set_level(logging.INFO, "edge_vision")
    disk, told = _Hanging(monkeypatch), list[dict[str, Any]]()
    with _running(tmp_path, queue_mb=0.1, snapshot=["clean"]) as site:
        supervisor = Supervisor(
            [], [], lambda state, _: told.append({"state": state}), Notifier(), SystemClock(), evidence=site.keeper
        )
        logging.getLogger("edge_vision").addHandler(caplog.handler)
        try:
            site.see(MOVED)
            wait_until(lambda: len(site.told) == 1, 60, "the first picture is told")
            path = site.told[0]["evidence"]["files"][0]["path"]
            disk.answers.clear()
            site.see(MOVED)
            wait_until(lambda: bool(supervisor.tick()) and supervisor.state == "degraded", 60, "it is degraded")
            assert (supervisor.gave_up, supervisor.abandoned) == ("", [])
            assert told[-1]["state"] == "degraded"
            assert site.keeper.facts()["error"].startswith("writing hangs for ")
            started_ns = time.monotonic_ns()
            for _ in range(50):
                site.see(MOVED)
                supervisor.tick()
            assert time.monotonic_ns() - started_ns < 30_000_000_000, "the disk answers after a minute"
            for _ in range(2):
                with pytest.raises(EvidenceError, match="the folder does not answer"):
                    site.keeper.fetch(path, 0, 1_000_000)
            assert site.keeper.left_behind
            with pytest.raises(EvidenceError, match="cam: writing hangs for "):
                site.keeper.ask_snapshot("cam")
            disk.answers.set()
            wait_until(lambda: supervisor.tick() and len(site.last) == 52, 60, "every event is told of")
            assert supervisor.state == "online"
            assert "error" not in site.keeper.facts()
        finally:
            logging.getLogger("edge_vision").removeHandler(caplog.handler)
            disk.answers.set()
        wait_until(lambda: not site.keeper._reader or not site.keeper._reader.alive, 60, "the file is read")
        assert site.keeper.fetch(path, 0, 1_000_000)
    assert not site.keeper.left_behind
    said = {id(record): record.getMessage() for record in caplog.records}.values()  # two handlers may hear of one
    (hangs,) = (one for one in said if "hangs for" in one)
    assert "slow_save" in hangs
    assert len([one for one in said if one.endswith(" goes on")]) == 1
    missing = [kept for kept in site.last.values() if kept["missing"]]
    assert missing, "what did not fit into queue_mb"


def test_the_end_does_not_wait_for_a_folder_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the time belongs to the sinks."""
    disk = _Hanging(monkeypatch)
    site = Site(tmp_path, {"snapshot": ["clean"]})
    site.keeper.start()
    disk.answers.clear()
    site.see(MOVED)
    wait_until(lambda: site.keeper.state == "lost", 60, "it hangs")
    started_ns = time.monotonic_ns()
    assert not site.keeper.finish(20)
    assert time.monotonic_ns() - started_ns < 15_000_000_000
    assert site.keeper.left_behind
    disk.answers.set()
    assert site.keeper.worker.join(60)


def test_a_bug_in_the_writer_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at the start nor later: events after it have their pictures."""
    tidy, fails = Store.tidy, [True]

    def sometimes(store: Store) -> None:
        if fails:
            fails.clear()
            raise KeyError("a bug")
        tidy(store)

    monkeypatch.setattr(Store, "tidy", sometimes)
    with _running(tmp_path) as site:
        site.see(MOVED)
    assert [one["type"] for one in site.told[-1]["evidence"]["files"]] == ["snapshot", "clean"]


def test_a_picture_can_be_asked_for(tmp_path: Path) -> None:
    """The next frame of a camera, drawn or clean; what is not there is told within the limit."""
    with _running(tmp_path, ("cam", "silent"), kinds=[]) as site:
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
    assert len(_names(tmp_path)) == 2


def test_a_mistake_in_the_code_concerns_one_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread lives on; the loss is counted."""
    failures = iter([True])

    def encode(image: NDArray[np.uint8], quality: int) -> bytes:
        if next(failures, False):
            msg = "a bug"
            raise TypeError(msg)
        return encoded(image, quality)

    monkeypatch.setattr("edge_vision.publish.evidence.writing.encoded", encode)
    with _running(tmp_path) as site:
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
