"""A camera at work, and the one who watches it: hangs, failures, replacement, giving up."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import wait_until

from edge_vision.app import supervisor as supervisor_module
from edge_vision.app import unit as unit_module
from edge_vision.app.pipeline import Road
from edge_vision.app.supervisor import Supervisor
from edge_vision.app.unit import Unit, Way
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SyntheticOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import SOURCES, Row
from edge_vision.config.site import Camera
from edge_vision.core.errors import InferenceError, SourceError
from edge_vision.core.frame import Frame
from edge_vision.core.scene import Scene
from edge_vision.runtime.clock import Clock, SystemClock
from edge_vision.runtime.systemd import Notifier
from edge_vision.testing.fakes import FakeClock, FakeSource, make_frame

Script = Callable[[Opening], "FakeSource | HangingSource"]


class HangingSource:
    """A live source whose library hangs in `read` until it is let go."""

    live = True

    def __init__(self, opening: Opening, release: threading.Event) -> None:
        self._opening = opening
        self._release = release
        self.woke = threading.Event()

    def read(self) -> Frame | None:
        """Hang; afterwards bring a frame that nobody must see."""
        self._release.wait(30)
        self.woke.set()
        return make_frame(index=9_999)


@pytest.fixture
def make_unit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Unit]]:
    """Makes units whose source follows a script, and ends their threads."""
    units: list[Unit] = []
    script: dict[str, Script] = {}

    @contextmanager
    def open_scripted(_options: Any, opening: Opening) -> Iterator[Any]:
        yield script["open"](opening)

    monkeypatch.setattr(unit_module, "open_source", open_scripted)
    monkeypatch.setattr(unit_module, "silence_limit_s", lambda _: 1.0)

    def make(
        source: Script, road: Callable[[Frame], Scene] = Scene, deliver: Callable[[Scene], None] = lambda _: None, *,
        way: Way | None = None, tell: Callable[[Scene], None] = lambda _: None,
        reopens: bool = True,
        clock: Clock | None = None,
        ring: Ring | None = None,
    ) -> Unit:  # fmt: skip
        script["open"] = source
        monkeypatch.setitem(SOURCES, "synthetic", Row("unused", reopens=reopens))

        @contextmanager
        def open_road() -> Iterator[Way]:
            yield way or Road([lambda scene: road(scene.frame)], SystemClock())

        camera = Camera("cam", SyntheticOptions(kind="synthetic"), "p", (), 0)
        units.append(Unit(camera, open_road, deliver, tell, clock or SystemClock(), ring=ring))
        return units[-1]

    yield make
    for unit in units:
        unit.stop_capture()
        unit.stop_analysis()
        unit.capture.join(60)
        unit.analysis.join(60)


def watch(*units: Unit) -> tuple[Supervisor, list[dict[str, Any]]]:
    """A supervisor of units, and the statuses it publishes."""
    told: list[dict[str, Any]] = []
    publish = lambda state, facts: told.append({"state": state, **facts})  # noqa: E731 - shorter than a function
    return Supervisor(units, [], publish, Notifier(), SystemClock()), told


def test_a_capture_that_hangs_is_left_behind_and_replaced(
    make_unit: Callable[..., Unit], caplog: pytest.LogCaptureFixture
) -> None:
    """Its stack is logged, frames come from a new thread, and what the old one brings later is not seen."""
    caplog.set_level(logging.INFO, "edge_vision")
    release, seen = threading.Event(), list[int]()
    hanging: list[HangingSource] = []

    def source(opening: Opening) -> FakeSource | HangingSource:
        if not hanging:
            hanging.append(HangingSource(opening, release))
            return hanging[0]
        return FakeSource([make_frame(index=number) for number in range(5)])

    unit = make_unit(source, deliver=lambda scene: seen.append(scene.frame.index))
    supervisor, told = watch(unit)
    logging.getLogger("edge_vision").addHandler(caplog.handler)
    first = unit.capture
    unit.start()
    wait_until(lambda: supervisor.tick() or unit.capture is not first, 60, "the hanging capture is replaced")
    wait_until(supervisor.tick, 60, "the site is done")
    assert seen == [0, 1, 2, 3, 4]
    assert unit.tally["abandoned"] == 1
    assert supervisor.abandoned == [first]
    assert "self._release.wait(30)" in caplog.text
    assert [status["state"] for status in told][-1] == "online"
    release.set()
    assert hanging[0].woke.wait(60)
    assert first.join(60)
    assert 9_999 not in seen
    assert supervisor.gave_up == ""


def test_too_many_hanging_captures_end_the_process(
    make_unit: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded number of threads is left behind; then only a new process helps."""
    monkeypatch.setattr(supervisor_module, "_MOST_ABANDONED", 2)
    release = threading.Event()
    unit = make_unit(lambda opening: HangingSource(opening, release))
    supervisor, _ = watch(unit)
    unit.start()
    wait_until(supervisor.tick, 60, "the supervisor gives up")
    assert "2 capture threads hang" in supervisor.gave_up
    assert unit.tally["abandoned"] == 2
    release.set()
    for worker in supervisor.abandoned:
        assert worker.join(60)


def test_an_analysis_that_hangs_ends_the_process(
    make_unit: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the device: it is not replaced."""
    monkeypatch.setattr(unit_module, "_ANALYSIS_LIMIT_S", 0.3)
    release = threading.Event()

    def road(frame: Frame) -> Scene:
        release.wait(30)
        return Scene(frame)

    unit = make_unit(lambda _: FakeSource([make_frame()]), road, reopens=False)
    supervisor, _ = watch(unit)
    unit.start()
    wait_until(supervisor.tick, 60, "the supervisor gives up")
    assert supervisor.gave_up == "analyze cam hangs"
    release.set()


def test_a_process_that_was_held_takes_no_thread_for_hung(make_unit: Callable[..., Unit]) -> None:
    """After SIGSTOP or a snapshot everybody has been silent: the supervisor, too, and it knows."""
    clock = FakeClock()
    release = threading.Event()
    unit = make_unit(lambda opening: HangingSource(opening, release), clock=clock)
    supervisor = Supervisor([unit], [], lambda *_: None, Notifier(), clock)
    unit.start()
    assert not supervisor.tick()
    clock.advance(60.0)
    assert not supervisor.tick()
    assert (unit.tally["abandoned"], supervisor.gave_up) == (0, "")
    for _ in range(8):  # but who is silent while the supervisor looks on is hung
        clock.advance(0.25)
        supervisor.tick()
    assert unit.tally["abandoned"] >= 1
    release.set()
    for worker in supervisor.abandoned:
        assert worker.join(60)


def test_a_recording_that_hangs_is_given_up_not_begun_again(make_unit: Callable[..., Unit]) -> None:
    """Opened again it would start from the beginning: every frame counts, and none twice."""
    release, opened = threading.Event(), list[int]()

    def source(opening: Opening) -> HangingSource:
        opened.append(opening.first_index)
        return HangingSource(opening, release)

    unit = make_unit(source, reopens=False)
    supervisor, _ = watch(unit)
    unit.start()
    wait_until(supervisor.tick, 60, "the site is done")
    assert opened == [0]
    assert (unit.state, supervisor.gave_up) == ("failed", "")
    release.set()
    assert unit.capture.join(60)


def test_a_frame_that_fails_is_counted_and_the_next_one_is_analyzed(make_unit: Callable[..., Unit]) -> None:
    """One failed inference costs one frame: the unit starts afresh."""
    seen: list[int] = []

    def road(frame: Frame) -> Scene:
        if frame.index == 2:
            msg = "device lost"
            raise InferenceError(msg)
        return Scene(frame)

    frames = [make_frame(index=number) for number in range(5)]
    unit = make_unit(lambda _: FakeSource(frames), road, lambda scene: seen.append(scene.frame.index), reopens=False)
    unit.start()
    wait_until(lambda: unit.done, 60, "everything is analyzed")
    assert seen == [0, 1, 3, 4]
    counts = unit.facts()["frames"]
    assert (counts["captured"], counts["analyzed"], counts["failed"], counts["dropped"]) == (5, 4, 1, 0)


def test_what_comes_while_a_camera_is_disabled_is_not_kept_for_clips(make_unit: Callable[..., Unit]) -> None:
    """Its ring rests for as long: packets show what no stage may look at."""
    ring = Ring(1_000_000, 60)
    unit = make_unit(lambda _: FakeSource([]), ring=ring)
    unit.enabled = False
    assert ring.paused
    unit.enabled = True
    assert not ring.paused


def test_a_camera_is_opened_again_and_numbers_go_on(make_unit: Callable[..., Unit]) -> None:
    """Frames after a loss continue the numbering; the loss and its reason are in the status until frames come."""
    states: list[tuple[str, str]] = []
    opened = 0

    def source(opening: Opening) -> FakeSource:
        nonlocal opened
        opened += 1
        states.append((unit.state, unit.error))
        first = opening.first_index
        if opened == 3:
            return FakeSource([make_frame(index=first + number) for number in range(3)])
        return FakeSource([make_frame(index=first), make_frame(index=first + 1), SourceError("cable cut")])

    seen: list[int] = []
    unit = make_unit(source, deliver=lambda scene: seen.append(scene.frame.index))
    unit.start()
    wait_until(lambda: unit.done, 60, "the source ends")
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    assert states == [("starting", ""), ("lost", "cable cut"), ("lost", "cable cut")]
    assert (unit.state, unit.error) == ("ended", "")
    assert unit.facts()["reopened"] == 2


def test_a_recording_that_fails_is_given_up(make_unit: Callable[..., Unit]) -> None:
    """It is not opened again; what it brought is analyzed, the unit says failed and why."""
    seen: list[int] = []
    script: list[Frame | Exception] = [make_frame(index=0), SourceError("file.mp4: damaged")]
    unit = make_unit(lambda _: FakeSource(script), deliver=lambda scene: seen.append(scene.frame.index), reopens=False)
    supervisor, told = watch(unit)
    unit.start()
    wait_until(supervisor.tick, 60, "the site is done")
    assert seen == [0]
    assert (unit.state, unit.error) == ("failed", "file.mp4: damaged")
    assert supervisor.gave_up == ""
    assert supervisor.state == "degraded"
    assert told


def test_the_freshest_frame_wins_on_a_live_source(make_unit: Callable[..., Unit]) -> None:
    """A slow road sees the newest frame, the ones before it are counted as dropped, and the sum is right."""
    started, release = threading.Event(), threading.Event()
    seen: list[int] = []

    def road(frame: Frame) -> Scene:
        started.set()
        release.wait(30)
        return Scene(frame)

    class Live(FakeSource):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is not None and frame.index == 1:
                started.wait(60)  # the road has taken frame 0
            return frame

    frames = [make_frame(index=number) for number in range(10)]
    unit = make_unit(lambda _: Live(frames, live=True), road, lambda scene: seen.append(scene.frame.index))
    unit.start()
    wait_until(lambda: unit.state == "ended", 60, "the source ends")
    release.set()
    wait_until(lambda: unit.done, 60, "the rest is analyzed")
    assert seen == [0, 9]
    counts = unit.facts()["frames"]
    assert (counts["captured"], counts["analyzed"], counts["dropped"]) == (10, 2, 8)


def test_stopping_counts_what_is_left(make_unit: Callable[..., Unit]) -> None:
    """Frames queued or just read when the unit is stopped are dropped, and none is unaccounted for."""
    release = threading.Event()

    def road(frame: Frame) -> Scene:
        release.wait(30)
        return Scene(frame)

    unit = make_unit(lambda _: FakeSource(make_frame(index=number) for number in range(1000)), road, reopens=False)
    unit.start()
    wait_until(lambda: unit.tally["captured"] >= 3, 60, "one is analyzed, one queued, one waits")
    unit.stop_capture()
    unit.stop_analysis()
    release.set()
    assert unit.capture.join(60)
    assert unit.analysis.join(60)
    counts = unit.facts()["frames"]
    assert counts["captured"] == counts["analyzed"] + counts["dropped"] + counts["failed"]


class _Told:
    """A way that has something to tell at its end."""

    def __call__(self, frame: Frame) -> Scene:
        return Scene(frame)

    def finish(self) -> Scene | None:
        return Scene(make_frame(index=77))


def test_at_the_end_of_a_recording_what_waits_is_told(make_unit: Callable[..., Unit]) -> None:
    """Once, behind the last frame."""
    seen, told = list[int](), list[int]()
    unit = make_unit(
        lambda _: FakeSource([make_frame(index=number) for number in range(3)]),
        deliver=lambda scene: seen.append(scene.frame.index),
        way=_Told(),
        tell=lambda scene: told.append(scene.frame.index),
    )
    unit.start()
    wait_until(lambda: unit.done, 60, "the recording has ended")
    assert seen == [0, 1, 2]
    assert told == [77]


def test_a_camera_that_is_stopped_has_nothing_to_end(make_unit: Callable[..., Unit]) -> None:
    """It goes on after the next start: what waits now is told then."""
    seen, told = list[int](), list[int]()
    unit = make_unit(
        lambda _: FakeSource([make_frame(index=number) for number in range(100_000)], live=True),
        deliver=lambda scene: seen.append(scene.frame.index),
        way=_Told(),
        tell=lambda scene: told.append(scene.frame.index),
    )
    unit.start()
    wait_until(lambda: bool(seen), 60, "frames come in")
    unit.stop_capture()
    wait_until(lambda: unit.done, 60, "the analysis is through")
    assert told == []
