"""Keeps evidence of events: takes frames from the road without holding it back, and writes on a thread of its own."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edge_vision.core.errors import EvidenceError
from edge_vision.core.events import Event, Verdict
from edge_vision.core.frame import Frame
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.publish.evidence.options import EvidenceOptions, PictureKind
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import NO_MEMORY, EvidenceWriter, Job, Request, Told, Watched
from edge_vision.publish.wire import Evidence
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import POLL_S, repeat
from edge_vision.runtime.tally import Tally
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 60.0
_JOIN_S: Final = 1.0
_READ_S: Final = 5.0
"""How long who asks for a file waits for it."""
_MOST_WAITING: Final = 4096
_MOST_ASKED: Final = 16


class _Camera:
    """What the thread of a camera remembers: when the next sample is due, and when which event had evidence."""

    def __init__(self, *, sampled: bool) -> None:
        self.latest: Frame | None = None
        self.sampled = sampled
        self.due_ns = 0
        self.last_ns: dict[str, int] = {}
        self.left_out: Counter[str] = Counter()
        self.asked: deque[Request] = deque()


class EvidenceKeeper:
    """Writes pictures and clips of events, and tells by `put` what there is.

    `hear` never waits; what it cannot take is counted, and the message about the event says so. `ask_snapshot` and
    `fetch` are for one thread, that of commands; what it says of itself is for any.
    """

    def __init__(
        self,
        options: EvidenceOptions,
        store: Store,
        cameras: Mapping[str, Watched],
        put: Callable[[str, Evidence], None],
        clock: Clock,
    ) -> None:
        self.tally = Tally()
        self._options = options
        self._store = store
        self._period_ns = int(1e9 / options.clip.sample_fps) if options.clip is not None else 0
        clips = options.clip is not None and bool(options.kinds)
        self._cameras = {name: _Camera(sampled=clips and one.ring is None) for name, one in cameras.items()}
        self._writer = EvidenceWriter(options, store, cameras, put, clock, self.tally)
        self._queue: Channel[Job] = Channel(_MOST_WAITING, Overflow.DROP_OLDEST, on_drop=self._lose)
        self._busy = False
        self._most_held = int(options.queue_mb * 1_000_000)
        self._held = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._reader: Worker | None = None
        self._hung = False
        self.worker = Worker("evidence", self._run, _LIMIT_S, clock)

    def start(self) -> None:
        """Start the thread."""
        self.worker.start()

    def hear(self, scene: Scene, messages: Sequence[Message]) -> None:
        """Take in a scene, and the messages of its events; called by the thread of its camera, and never waits.

        A frame is heard of again when a recording has ended, with what waited to be told: its picture is remembered.
        """
        camera = self._cameras.get(scene.frame.source_id)
        if camera is None:
            return
        if camera.latest is not None and scene.frame.index == camera.latest.index:
            scene = replace(scene, frame=camera.latest)
        camera.latest = frame = scene.frame
        told = self._wanted(camera, scene.events, messages, frame.media_ns)
        due = self._due(camera, frame.media_ns)
        if not (told or due or camera.asked):
            return
        # Samples leave half of the memory to pictures of events.
        leased = self._lease(frame.image.nbytes, self._most_held if told or camera.asked else self._most_held // 2)
        if not leased:
            self.tally.add("dropped")
        if not (leased or told or camera.asked):
            return
        requests = [camera.asked.popleft() for _ in range(len(camera.asked))]
        kept = frame if leased else replace(frame, image=frame.image[:0].copy())
        job = Job(kept, scene if leased else None, told, requests)
        self._queue.put(job, 0.0)

    @property
    def state(self) -> str:
        """How it is: online, or lost: its thread hangs, as in a network folder that does not answer, or has ended."""
        return "lost" if self.worker.stuck or self.worker.error is not None else "online"

    @property
    def left_behind(self) -> bool:
        """Whether a thread still runs."""
        return self.worker.alive or (self._reader is not None and self._reader.alive)

    def mind(self) -> None:
        """Say once that the thread hangs, and where; and that it goes on. Nobody waits for it, and nothing ends."""
        hung = self.worker.stuck
        if hung and not self._hung:
            text = "evidence: writing to %s hangs for %.0f s; analysis goes on without; at:\n%s"
            _log.error(text, self._store.folder, self.worker.silent_s, self.worker.stack())
        elif self._hung and not hung:
            _log.info("evidence: writing to %s goes on", self._store.folder)
        self._hung = hung

    def ask_snapshot(self, source_id: str, kind: PictureKind = "annotated") -> Request:
        """Have the next frame of a camera kept as a picture; never waits. Raises EvidenceError."""
        camera = self._cameras.get(source_id)
        if camera is None:
            raise EvidenceError(f"no evidence of {source_id[:64]!r}{did_you_mean(source_id, tuple(self._cameras))}")
        if self.state == "lost":
            raise EvidenceError(f"{source_id}: {self._error}")
        if len(camera.asked) >= _MOST_ASKED:
            raise EvidenceError(f"{source_id}: {_MOST_ASKED} pictures are asked for already")
        request = Request(kind, camera.asked)
        camera.asked.append(request)
        return request

    def fetch(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """Part of a file by the path that a message gave, and the size of the whole. Raises EvidenceError, in time.

        It is read on a thread of its own, one at a time: a network folder may not answer for hours.
        """
        if self._reader is not None and self._reader.alive:
            raise EvidenceError(f"the folder does not answer for {self._reader.silent_s:.0f} s")
        found: list[tuple[bytes, int] | EvidenceError] = []

        def read(worker: Worker) -> None:
            del worker
            try:
                found.append(self._store.fetch(path, offset, length))
            except EvidenceError as error:
                found.append(error)

        self._reader = Worker("read evidence", read, _READ_S, self._clock)
        self._reader.start()
        if not self._reader.join(_READ_S):
            raise EvidenceError(f"{path}: the folder does not answer within {_READ_S:g} s")
        part = found[0] if found else EvidenceError(f"{path}: cannot be read; the log says more")
        if isinstance(part, EvidenceError):
            raise part
        return part

    def finish(self, timeout_s: float) -> bool:
        """No more frames come: write what waits, end the clips as they are; whether that was done in time.

        A thread that hangs already is not waited for.
        """
        self._queue.end()
        if self.worker.stuck:
            self.worker.stop()
            return False
        if self.worker.join(timeout_s):
            return True
        self.worker.stop()
        return self.worker.join(_JOIN_S)

    def facts(self) -> dict[str, Any]:
        """What the site's status says of evidence."""
        counts, error = self.tally.snapshot(), self._error
        return {
            **{name: counts.get(name, 0) for name in ("events", "written", "dropped", "missing", "left_out")},
            "removed": self._store.removed,
            "bytes": self._store.load,
            "waiting": len(self._queue) + self._busy,
            **({"error": error} if error else {}),
        }

    @property
    def _error(self) -> str:
        if self.worker.stuck:
            return f"writing hangs for {self.worker.silent_s:.0f} s"
        ended = self.worker.error
        return self._writer.error if ended is None else f"writing has ended: {type(ended).__name__}: {ended}"

    def _wanted(
        self, camera: _Camera, events: Sequence[Event], messages: Sequence[Message], media_ns: int
    ) -> list[Told]:
        """The events of which evidence is kept; the others of these kinds are counted."""
        told = []
        for event, message in zip(events, messages, strict=True):
            kind, verdicts = event.kind, self._options.verdicts
            if kind not in self._options.kinds:
                continue
            if isinstance(event, Verdict) and verdicts is not None and event.verdict not in verdicts:
                continue
            last_ns = camera.last_ns.get(kind)
            if last_ns is not None and 0 <= media_ns - last_ns < self._options.cooldown_s * 1e9:
                camera.left_out[kind] += 1
                self.tally.add("left_out")
                continue
            camera.last_ns[kind] = media_ns
            told.append(Told(message.id, kind, camera.left_out.pop(kind, 0)))
        return told

    def _due(self, camera: _Camera, media_ns: int) -> bool:
        """Whether a frame is one of those that clips are made of."""
        if not camera.sampled:
            return False
        if media_ns < camera.due_ns - self._period_ns:  # a media clock that began anew
            camera.due_ns = media_ns
        if media_ns < camera.due_ns:
            return False
        camera.due_ns = max(camera.due_ns + self._period_ns, media_ns + self._period_ns // 2)
        return True

    def _lease(self, size: int, most: int) -> bool:
        """Whether there is memory for one more picture; one alone is always taken."""
        with self._lock:
            if self._held and self._held + size > most:
                return False
            self._held += size
            return True

    def _release(self, job: Job) -> None:
        if job.scene is not None:
            with self._lock:
                self._held -= job.frame.image.nbytes

    def _lose(self, job: Job) -> None:
        """The queue is full of jobs: the oldest is forgotten."""
        self._release(job)
        self.tally.add("dropped")
        self.tally.add("missing", len(job.told))
        for request in job.requests:
            request.answer = NO_MEMORY
            request.done.set()

    def _run(self, worker: Worker) -> None:
        self._mind()
        repeat(self._work, worker)
        self._queue.cancel()
        self._writer.finish()

    def _mind(self) -> None:
        try:
            self._writer.mind()
        except Exception as error:  # noqa: BLE001 - a bug must not end the thread
            self.tally.add("missing")
            self._writer.complain(error)

    def _work(self) -> bool:
        """One job, and what is to be done from time to time; True when there will be no more jobs.

        A failure concerns the job alone.
        """
        job = self._queue.get(POLL_S)
        self._busy = job is not None
        try:
            if job is not None:
                self._writer.do(job)
        except Exception as error:  # noqa: BLE001 - analysis goes on, and so does evidence of other events
            self.tally.add("missing", 0 if job is None else len(job.told))
            self._writer.complain(error)
        finally:
            if job is not None:
                self._release(job)
            self._mind()
            self._busy = False
        return job is None and self._queue.exhausted
