"""One camera at work: a thread that captures and a thread that analyzes. The unit of failure."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from edge_vision.capture.opening import Opening
from edge_vision.capture.table import SOURCES, open_source, silence_limit_s
from edge_vision.config.site import Camera
from edge_vision.core.frame import Frame
from edge_vision.core.protocols import Source
from edge_vision.core.scene import Scene
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import consume, keep_trying, pump
from edge_vision.runtime.tally import Tally, Window
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_ANALYSIS_LIMIT_S: Final = 60.0


class Unit:
    """Captures the frames of one camera and takes each down the road; other cameras never notice it."""

    def __init__(
        self,
        camera: Camera,
        open_road: Callable[[], AbstractContextManager[Callable[[Frame], Scene]]],
        deliver: Callable[[Scene], None],
        clock: Clock,
    ) -> None:
        self.camera = camera
        self.tally = Tally()
        self.latency_ms = Window()
        self.state = "starting"
        self.error = ""
        self._open_road = open_road
        self._deliver = deliver
        self._clock = clock
        self._epoch_ns = 0
        self._next_index = 0
        self._frames: Channel[Frame] = Channel(1, Overflow.BLOCK)
        self.capture = self._capture_worker()
        self.analysis = Worker(f"analyze {camera.id}", self._analyze, _ANALYSIS_LIMIT_S, clock)

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
        """Leave a capture thread that hangs to itself and start another; returns the one left behind."""
        hung, self.capture = self.capture, self._capture_worker()
        hung.stop()
        self.tally.add("abandoned")
        self._lost("abandoned after a hang")
        self.capture.start()
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
            "frames": {**{name: counts.get(name, 0) for name in names}, "dropped": self._frames.dropped},
            "reopened": counts.get("reopened", 0),
            "latency_ms": {
                "p50": round(self.latency_ms.percentile(50), 2),
                "p95": round(self.latency_ms.percentile(95), 2),
            },
            **({"error": self.error} if self.error else {}),
        }

    def _capture_worker(self) -> Worker:
        limit_s = silence_limit_s(self.camera.source)
        return Worker(f"capture {self.camera.id}", self._capture, limit_s, self._clock)

    def _capture(self, worker: Worker) -> None:
        if SOURCES[self.camera.source.kind].reopens:
            keep_trying(lambda: self._read_all(worker), worker, Backoff(), on_failure=self._source_failed)
            return
        try:
            self._read_all(worker)
        except Exception as error:
            self.state, self.error = "failed", str(error)
            self._frames.end()
            raise

    def _read_all(self, worker: Worker) -> None:
        """Open the source and read it to its end, or until it fails."""
        opening = Opening(
            self.camera.id, self._clock, self._next_index, self._epoch_ns, lambda count: self.tally.add("lost", count)
        )
        with open_source(self.camera.source, opening) as source:
            if worker.stopping.is_set():
                return
            self._frames.overflow = Overflow.DROP_OLDEST if source.live else Overflow.BLOCK
            if pump(lambda: self._read(source, worker), self._frames, worker):
                self.state = "ended"
                self._frames.end()

    def _read(self, source: Source, worker: Worker) -> Frame | None:
        frame = source.read()
        if frame is None or worker.stopping.is_set():
            return frame
        if self.state != "online":
            _log.info("%s: frames come in, %dx%d", self.camera.id, *frame.wh)
            self.state, self.error = "online", ""
        self.tally.add("captured")
        self._next_index = frame.index + 1
        return frame

    def _source_failed(self, error: Exception, delay_s: float) -> None:
        self.tally.add("reopened")
        if self.error != str(error):  # the same trouble again is counted, not logged
            _log.warning("%s: %s; trying again, next in %.1f s", self.camera.id, error, delay_s)
        self._lost(str(error))

    def _lost(self, why: str) -> None:
        self.state, self.error = "lost", why

    def _analyze(self, worker: Worker) -> None:
        def attempt() -> None:
            with self._open_road() as road:
                consume(self._frames, lambda frame: self._walk(road, frame), worker)

        keep_trying(attempt, worker, Backoff(), on_failure=self._analysis_failed)

    def _walk(self, road: Callable[[Frame], Scene], frame: Frame) -> None:
        scene = road(frame)
        self._deliver(scene)
        self.tally.add("analyzed")
        self.latency_ms.add((self._clock.monotonic_ns() - frame.captured_ns) / 1e6)

    def _analysis_failed(self, error: Exception, delay_s: float) -> None:
        self.tally.add("failed")
        _log.warning("%s: analysis failed: %s; starting afresh in %.1f s", self.camera.id, error, delay_s)
