"""One camera at work: a thread that captures and a thread that analyzes. The unit of failure."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Final, Protocol

from edge_vision.app.tuning import Tuning
from edge_vision.capture.opening import Opening
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source, reopens, silence_limit_s
from edge_vision.config.site import Camera
from edge_vision.core.errors import SourceTimeoutError
from edge_vision.core.frame import Frame
from edge_vision.core.protocols import Source
from edge_vision.core.scene import Scene
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import consume, keep_trying, pump
from edge_vision.runtime.tally import Tally, Window
from edge_vision.runtime.trouble import Trouble, traceback_of
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_ANALYSIS_LIMIT_S: Final = 60.0


class Way(Protocol):
    """What a camera's frames are taken along."""

    def __call__(self, frame: Frame) -> Scene:
        """What is seen in one frame."""

    def finish(self) -> Scene | None:
        """What is still to be told at the end of a recording, if anything."""


class Unit:
    """Captures the frames of one camera and takes each down the road; other cameras never notice it.

    `deliver` is given each scene; `tell` one more at the end of a recording, where events wait to be told. `ring` is
    for the encoded packets of a source that has some.
    """

    def __init__(
        self,
        camera: Camera,
        open_road: Callable[[], AbstractContextManager[Way]],
        deliver: Callable[[Scene], None],
        tell: Callable[[Scene], None],
        clock: Clock,
        tuning: Tuning | None = None,
        ring: Ring | None = None,
    ) -> None:
        self.camera = camera
        self._ring = ring
        self.tuning = tuning or Tuning(camera)
        self._enabled = True
        self.tally = Tally()
        self._takers: list[Callable[[Frame], None]] = []
        self._takers_lock = threading.Lock()
        self.latency_ms = Window()
        self._source_state = "starting"
        self._source_trouble = Trouble()
        self._analysis_trouble = Trouble()
        self._open_road = open_road
        self._deliver = deliver
        self._tell = tell
        self._clock = clock
        self._epoch_ns = 0
        self._next_index = 0
        self._frames: Channel[Frame] = Channel(1, Overflow.BLOCK)
        self.capture = self._capture_worker()
        waits_s = sum(getattr(stage, "longest_wait_s", 0.0) for stage in camera.stages)
        self.analysis = Worker(f"analyze {camera.id}", self._analyze, _ANALYSIS_LIMIT_S + waits_s, clock)

    @property
    def enabled(self) -> bool:
        """Whether frames are analyzed, and packets kept; a command may change it at any time."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if self._ring is not None and not value:
            self._ring.pause()
        elif self._ring is not None:
            self._ring.resume()
        self._enabled = value

    @property
    def state(self) -> str:
        """How the camera is: starting, online, lost (no frames), failing (no analysis), ended, or failed for good.

        Disabled while a command has its frames not analyzed, whether they come or not.
        """
        if not self.enabled and self._source_state not in {"ended", "failed"}:
            return "disabled"
        if self._analysis_trouble.text and self._source_state != "failed":
            return "failing"
        return self._source_state

    @property
    def error(self) -> str:
        """What is wrong, or nothing."""
        return self._analysis_trouble.text or self._source_trouble.text

    @property
    def flawless(self) -> bool:
        """Whether the source did not fail for good, no frame failed, and the analysis works."""
        return self._source_state != "failed" and self.tally["failed"] == 0 and not self._analysis_trouble.text

    @property
    def overrides(self) -> dict[str, Any]:
        """What commands have changed of what the site file says."""
        confidence = self.tuning.confidence
        return {
            **({} if self.enabled else {"enabled": False}),
            **({} if confidence is None else {"confidence": confidence}),
        }

    def show_next(self, taker: Callable[[Frame], None]) -> None:
        """Call `taker` once with the next frame that was analyzed, on the thread that did it: it must not block."""
        with self._takers_lock:
            self._takers.append(taker)

    def show_no_more(self, taker: Callable[[Frame], None]) -> None:
        """Take back what `show_next` asked for; nothing where it was shown already."""
        with self._takers_lock, suppress(ValueError):
            self._takers.remove(taker)

    def start(self) -> None:
        """Start both threads."""
        self._epoch_ns = self._clock.monotonic_ns()
        self.analysis.start()
        self.capture.start()

    def stop_capture(self) -> None:
        """No more frames; those at hand are still analyzed."""
        self.capture.stop()
        self._frames.end()

    def stop_analysis(self) -> None:
        """Leave what is not analyzed yet, counted."""
        self.analysis.stop()
        self._frames.cancel()

    def replace_capture(self) -> Worker:
        """Leave a capture thread that hangs to itself and open a camera anew; returns the thread left behind.

        A recording is given up: opened again, it would begin from its start.
        """
        hung = self.capture
        hung.stop()
        self.tally.add("abandoned")
        error = SourceTimeoutError(f"{self.camera.id}: the source hangs; its thread was left behind")
        self._source_trouble.is_news(error)
        if reopens(self.camera.source):
            self._source_state = "lost"
            self.capture = self._capture_worker()
            self.capture.start()
        else:
            self._source_state = "failed"
            self._frames.end()
        return hung

    @property
    def done(self) -> bool:
        """Whether nothing more will come: the source has ended, or failed for good, and all is analyzed."""
        return not self.analysis.alive

    def facts(self) -> dict[str, Any]:
        """What the site's status says of this camera."""
        counts = self.tally.snapshot()
        names = ("captured", "lost", "analyzed", "failed")
        return {
            "id": self.camera.id,
            "state": self.state,
            "frames": {
                **{name: counts.get(name, 0) for name in names},
                "dropped": self._frames.dropped,
                **({"skipped": counts["skipped"]} if "skipped" in counts else {}),
            },
            "reopened": counts.get("reopened", 0),
            "latency_ms": {
                "p50": round(self.latency_ms.percentile(50), 2),
                "p95": round(self.latency_ms.percentile(95), 2),
            },
            **({"overrides": self.overrides} if self.overrides else {}),
            **({"error": self.error} if self.error else {}),
        }

    def _capture_worker(self) -> Worker:
        limit_s = silence_limit_s(self.camera.source)
        return Worker(f"capture {self.camera.id}", self._capture, limit_s, self._clock)

    def _capture(self, worker: Worker) -> None:
        if reopens(self.camera.source):
            failed = partial(self._source_failed, worker)
            keep_trying(lambda: self._read_all(worker), worker, Backoff(), on_failure=failed)
            return
        try:
            self._read_all(worker)
        except Exception as error:
            if not worker.stopping.is_set():  # else it was left behind, and this is no news
                self._source_state = "failed"
                self._source_trouble.is_news(error)
                self._frames.end()
            raise

    def _read_all(self, worker: Worker) -> None:
        """Open the source and read it to its end, or until it fails."""
        opening = Opening(
            self.camera.id,
            self._clock,
            self._next_index,
            self._epoch_ns,
            lambda count: self.tally.add("lost", count),
            self._ring,
        )
        with open_source(self.camera.source, opening) as source:
            if worker.stopping.is_set():
                return
            self._frames.overflow = Overflow.DROP_OLDEST if source.live else Overflow.BLOCK
            if pump(lambda: self._read(source, worker), self._frames, worker):
                self._source_state = "ended"
                self._frames.end()

    def _read(self, source: Source, worker: Worker) -> Frame | None:
        frame = source.read()
        if frame is None or worker.stopping.is_set():
            return frame
        if self._source_state != "online":
            _log.info("%s: frames come in, %dx%d", self.camera.id, *frame.wh)
            self._source_state = "online"
            self._source_trouble.clear()
        self.tally.add("captured")
        self._next_index = frame.index + 1
        return frame

    def _source_failed(self, worker: Worker, error: Exception, delay_s: float) -> None:
        if worker.stopping.is_set():
            return  # left behind, or asked to stop
        self.tally.add("reopened")
        if self._source_trouble.is_news(error):
            text = "%s: %s; trying again, next in %.1f s"
            _log.warning(text, self.camera.id, error, delay_s, exc_info=traceback_of(error))
        self._source_state = "lost"

    def _analyze(self, worker: Worker) -> None:
        def attempt() -> None:
            with self._open_road() as road:
                consume(self._frames, lambda frame: self._walk(road, frame), worker)
                # A run that is stopped goes on after the next start: what waits is told then, and once.
                last = road.finish() if self._source_state == "ended" else None
                if last is not None:
                    self._tell(last)

        keep_trying(attempt, worker, Backoff(), on_failure=self._analysis_failed)

    def _walk(self, road: Way, frame: Frame) -> None:
        if not self.enabled:
            self.tally.add("skipped")
            return
        try:
            scene = road(frame)
            self._deliver(scene)
            if self._takers:
                self._show(scene.frame)
        except Exception:
            self.tally.add("failed")
            raise
        self.tally.add("analyzed")
        if self._analysis_trouble.clear():
            _log.info("%s: analysis works again", self.camera.id)
        self.latency_ms.add((self._clock.monotonic_ns() - frame.captured_ns) / 1e6)

    def _show(self, frame: Frame) -> None:
        with self._takers_lock:
            takers, self._takers = self._takers, []
        for taker in takers:
            taker(frame)

    def _analysis_failed(self, error: Exception, delay_s: float) -> None:
        if self._analysis_trouble.is_news(error):
            text = "%s: analysis failed: %s; starting afresh, next in %.1f s"
            _log.error(text, self.camera.id, error, delay_s, exc_info=traceback_of(error))
