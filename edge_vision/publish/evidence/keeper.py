"""Keeps evidence of events: takes frames from the road without holding it back, and writes on a thread of its own."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edge_vision.core.errors import EvidenceError, MissingLibraryError
from edge_vision.core.events import Event, Verdict
from edge_vision.core.frame import Frame
from edge_vision.core.message import Message
from edge_vision.core.packets import PacketRing
from edge_vision.core.scene import Scene
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.publish.annotate import Annotator
from edge_vision.publish.drawing.places import Places
from edge_vision.publish.evidence.options import EvidenceOptions, PictureKind
from edge_vision.publish.evidence.recorder import Cut, Recorded, Recorder
from edge_vision.publish.evidence.samples import encoded
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.wire import Evidence, EvidenceFile, EvidenceType, MissingEvidence
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import deliver
from edge_vision.runtime.tally import Tally
from edge_vision.runtime.trouble import Trouble, traceback_of
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 60.0
_JOIN_S: Final = 1.0
_MOST_WAITING: Final = 4096
_MOST_ASKED: Final = 16
_TIDY_NS: Final = 60_000_000_000
_MS: Final = 1_000_000
_TYPES: Final[dict[PictureKind, EvidenceType]] = {"annotated": "snapshot", "clean": "clean"}
_FULL: Final = "too many pictures wait to be written (queue_mb)"


@dataclass(frozen=True, slots=True)
class Watched:
    """A camera of which evidence is kept: its places, for drawing, and its packets where they may be stored."""

    places: Places = field(default_factory=Places)
    ring: PacketRing | None = None


@dataclass(slots=True, eq=False)
class _Request:
    """A picture that somebody waits for."""

    kind: PictureKind
    done: threading.Event = field(default_factory=threading.Event)
    answer: EvidenceFile | str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """An event that was told, as far as evidence needs to know it."""

    of: str
    kind: str
    left_out: int


@dataclass(slots=True, eq=False)
class _Kept:
    """What there is of an event so far."""

    told: _Told
    media_ns: int
    files: list[EvidenceFile]
    missing: list[MissingEvidence]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A frame to be looked at later; without `scene` there was no memory for it."""

    camera: "_Camera"
    frame: Frame
    scene: Scene | None
    told: Sequence[_Told]
    requests: Sequence[_Request]


class _Camera:
    """What is remembered of a camera: the first half on the road's thread, the recorder on that of the evidence."""

    def __init__(self, places: Places, recorder: Recorder | None, sampled: bool) -> None:
        self.latest: Frame | None = None
        self.due_ns = 0
        self.last_ns: dict[str, int] = {}
        self.left_out: Counter[str] = Counter()
        self.asked: deque[_Request] = deque()
        self.sampled = sampled
        self.places = places
        self.recorder = recorder
        self.pictures: Counter[str] = Counter()


class EvidenceKeeper:
    """Writes pictures and clips of events, and tells by `put` what there is.

    `hear` never waits; what it cannot take is counted, and the message about the event says so.
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
        self._put = put
        self._clock = clock
        self._period_ns = int(1e9 / options.clip.sample_fps) if options.clip is not None else 0
        self._cameras = {
            name: _Camera(watched.places, self._recorder(name, watched), watched.ring is None)
            for name, watched in cameras.items()
        }
        self._queue: Channel[_Job] = Channel(_MOST_WAITING, Overflow.DROP_OLDEST, on_drop=self._lose)
        self._pending: list[_Job] = []
        self._most_held = int(options.queue_mb * 1_000_000)
        self._held = 0
        self._lock = threading.Lock()
        self._trouble = Trouble()
        self._tidied_ns = 0
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
        leased = self._lease(frame.image.nbytes)
        if not leased:
            self.tally.add("dropped")
        if not (leased or told or camera.asked):
            return
        requests = [camera.asked.popleft() for _ in range(len(camera.asked))]
        kept = frame if leased else replace(frame, image=frame.image[:0])
        job = _Job(camera, kept, scene if leased else None, told, requests)
        self._queue.put(job, 0.0)

    def request_snapshot(self, source_id: str, kind: PictureKind = "annotated", timeout_s: float = 5.0) -> EvidenceFile:
        """Keep the next frame of a camera as a picture, and wait for it. Raises EvidenceError."""
        camera = self._cameras.get(source_id)
        if camera is None:
            raise EvidenceError(f"no evidence of {source_id[:64]!r}{did_you_mean(source_id, tuple(self._cameras))}")
        if len(camera.asked) >= _MOST_ASKED:
            raise EvidenceError(f"{source_id}: {_MOST_ASKED} pictures are asked for already")
        request = _Request(kind)
        camera.asked.append(request)
        if not request.done.wait(timeout_s):
            try:
                camera.asked.remove(request)
            except ValueError:
                raise EvidenceError(f"{source_id}: the picture was not written within {timeout_s:g} s") from None
            raise EvidenceError(f"{source_id}: no frame came within {timeout_s:g} s")
        if isinstance(request.answer, str):
            raise EvidenceError(f"{source_id}: {request.answer}")
        return request.answer

    def fetch(self, path: str, most_bytes: int) -> bytes:
        """The contents of a file by the path that a message gave. Raises EvidenceError."""
        return self._store.fetch(path, most_bytes)

    def finish(self, timeout_s: float) -> bool:
        """No more frames come: write what waits, end the clips as they are; whether that was done in time."""
        self._queue.end()
        if self.worker.join(timeout_s):
            return True
        self.worker.stop()
        return self.worker.join(_JOIN_S)

    def facts(self) -> dict[str, Any]:
        """What the site's status says of evidence."""
        counts = self.tally.snapshot()
        error = f"writing hangs for {self.worker.silent_s:.0f} s" if self.worker.stuck else self._trouble.text
        return {
            **{name: counts.get(name, 0) for name in ("events", "written", "dropped", "missing", "left_out")},
            "removed": self._store.removed,
            "bytes": self._store.load,
            "waiting": len(self._queue) + len(self._pending),
            **({"error": error} if error else {}),
        }

    def _recorder(self, name: str, watched: Watched) -> Recorder | None:
        clip = self._options.clip if self._options.kinds else None
        return None if clip is None else Recorder(name, clip, self._store, self._clock, watched.ring)

    def _wanted(
        self, camera: _Camera, events: Sequence[Event], messages: Sequence[Message], media_ns: int
    ) -> list[_Told]:
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
            told.append(_Told(message.id, kind, camera.left_out.pop(kind, 0)))
        return told

    def _due(self, camera: _Camera, media_ns: int) -> bool:
        """Whether a frame is one of those that clips are made of."""
        if camera.recorder is None or not camera.sampled:
            return False
        if media_ns < camera.due_ns - self._period_ns:  # a media clock that began anew
            camera.due_ns = media_ns
        if media_ns < camera.due_ns:
            return False
        camera.due_ns = max(camera.due_ns + self._period_ns, media_ns + self._period_ns // 2)
        return True

    def _lease(self, size: int) -> bool:
        """Whether there is memory for one more picture; one alone is always taken."""
        with self._lock:
            if self._held and self._held + size > self._most_held:
                return False
            self._held += size
            return True

    def _release(self, job: _Job) -> None:
        if job.scene is not None:
            with self._lock:
                self._held -= job.frame.image.nbytes

    def _lose(self, job: _Job) -> None:
        """The queue is full of jobs: the oldest is forgotten."""
        self._release(job)
        self.tally.add("dropped")
        self.tally.add("missing", len(job.told))
        for request in job.requests:
            request.answer = _FULL
            request.done.set()

    def _run(self, worker: Worker) -> None:
        self._mind()
        deliver(self._queue, self._pending, self._work, worker, most=1)
        self._queue.cancel()
        for job in self._pending:
            self._lose(job)
        self._pending.clear()
        for name, camera in self._cameras.items():
            if camera.recorder is not None:
                self._tell_done(camera, camera.recorder.finish("the site was stopped"), name)

    def _work(self, pending: list[_Job]) -> None:
        """One job, and what is to be done from time to time; a failure concerns the job alone."""
        job = pending.pop() if pending else None
        try:
            if job is not None:
                self._do(job)
            self._mind()
        except Exception as error:  # noqa: BLE001 - analysis goes on, and so does evidence of other events
            self.tally.add("missing", 1 if job is None else len(job.told))
            self._complain(error)
        finally:
            if job is not None:
                self._release(job)

    def _mind(self) -> None:
        for name, camera in self._cameras.items():
            if camera.recorder is not None:
                self._tell_done(camera, camera.recorder.step(), name)
        now_ns = self._clock.monotonic_ns()
        if not self._tidied_ns or now_ns - self._tidied_ns > _TIDY_NS:
            self._tidied_ns = now_ns
            try:
                self._store.tidy()
            except EvidenceError as error:
                self._complain(error)

    def _do(self, job: _Job) -> None:
        camera, frame, clip = job.camera, job.frame, None
        recorder = camera.recorder
        if recorder is not None and job.scene is not None:
            try:
                recorder.see(frame)
            except (EvidenceError, MissingLibraryError) as error:
                self._complain(error)
        if job.told and recorder is not None:
            clip = recorder.follow(frame.media_ns, frame.timestamp)
        if job.told or job.requests:
            name = clip.name if clip is not None else self._store.begin(frame.timestamp, frame.source_id)
            if job.told:
                self._keep(job, name, clip)
            for request in job.requests:
                request.answer = self._answer(job, name, request.kind)
                request.done.set()
            if clip is None:
                self._end(camera, name)

    def _keep(self, job: _Job, name: str, clip: Cut | None) -> None:
        """Write the pictures of an event's frame, and tell of them."""
        files: list[EvidenceFile] = []
        missing: list[MissingEvidence] = []
        number = self._number(job.camera, name)
        for kind in self._options.snapshot:
            written = self._picture(job, name, number, kind)
            if isinstance(written, EvidenceFile):
                files.append(written)
            else:
                missing.append(MissingEvidence(_TYPES[kind], written))
        for told in job.told:
            self.tally.add("events")
            kept = _Kept(told, job.frame.media_ns, list(files), list(missing))
            if clip is not None:
                clip.waiting.append(kept)
            self._tell(job.frame.source_id, kept, ["clip"] if clip is not None else [])

    def _answer(self, job: _Job, name: str, kind: PictureKind) -> EvidenceFile | str:
        return self._picture(job, name, self._number(job.camera, name), kind)

    def _number(self, camera: _Camera, name: str) -> int:
        camera.pictures[name] += 1
        return camera.pictures[name]

    def _picture(self, job: _Job, name: str, number: int, kind: PictureKind) -> EvidenceFile | str:
        """Write one picture of a frame; why not, where it cannot be."""
        if job.scene is None:
            self.tally.add("missing")
            return _FULL
        try:
            image = job.frame.image if kind == "clean" else _annotated(job.scene, job.camera.places)
            jpeg = encoded(image, self._options.jpeg_quality)
            stored = self._store.save(f"{name}.{number:04}.{kind}.jpg", jpeg)
        except (EvidenceError, MissingLibraryError) as error:
            self.tally.add("missing")
            self._complain(error)
            return str(error)
        self._well()
        height, width = image.shape[:2]
        return EvidenceFile(_TYPES[kind], stored.path, stored.sha256, stored.bytes, width, height)

    def _tell_done(self, camera: _Camera, done: Iterable[tuple[Cut, Recorded | str]], source: str) -> None:
        """Tell the events of each clip that is done what there is of them in the end."""
        for cut, clip in done:
            if isinstance(clip, Recorded):
                self._well()
            elif cut.failed:
                self._complain(EvidenceError(clip))
            for kept in cut.waiting:
                found = self._of_event(camera, kept, clip)
                if isinstance(found, EvidenceFile):
                    kept.files.append(found)
                else:
                    self.tally.add("missing")
                    kept.missing.append(MissingEvidence("clip", found))
                self._tell(source, kept, [])
            self._end(camera, cut.name)

    def _of_event(self, camera: _Camera, kept: _Kept, clip: Recorded | str) -> EvidenceFile | str:
        """The clip as it shows one of its events; why there is none, where it does not show it."""
        assert self._options.clip is not None
        assert camera.recorder is not None
        if isinstance(clip, str):
            return clip
        before_ns, after_ns = kept.media_ns - clip.first_ns, clip.last_ns - kept.media_ns
        if before_ns < 0 or after_ns < 0:
            return clip.why or "there are no pictures of that time any more"
        slack_ns, shorter = camera.recorder.slack_ns, []
        if before_ns + slack_ns < self._options.clip.before_s * 1e9:
            shorter.append(f"begins {before_ns / 1e9:.1f} s before the event, not {self._options.clip.before_s:g}")
        if after_ns + slack_ns < self._options.clip.after_s * 1e9:
            wanted = f"{self._options.clip.after_s:g}: {clip.why or 'no more frames came'}"
            shorter.append(f"ends {after_ns / 1e9:.1f} s after the event, not {wanted}")
        file, (width, height) = clip.file, clip.wh
        first_ms, last_ms = round(clip.first_ns / _MS, 3), round(clip.last_ns / _MS, 3)
        why = "; ".join(shorter) or None
        return EvidenceFile("clip", file.path, file.sha256, file.bytes, width, height, first_ms, last_ms, why)

    def _tell(self, source: str, kept: _Kept, pending: list[EvidenceType]) -> None:
        told = kept.told
        self._put(source, Evidence(told.of, told.kind, kept.files, kept.missing, pending, told.left_out))

    def _end(self, camera: _Camera, name: str) -> None:
        camera.pictures.pop(name, None)
        self._store.end(name)

    def _well(self) -> None:
        self.tally.add("written")
        if self._trouble.clear():
            _log.info("evidence: writing again")

    def _complain(self, error: Exception) -> None:
        if self._trouble.is_news(error):
            _log.warning("evidence: %s; analysis goes on", error, exc_info=traceback_of(error))


def _annotated(scene: Scene, places: Places) -> Any:
    """The frame with what was seen and told drawn on it; of lines only the counts that the events name are known."""
    named = {getattr(event, "line", None) for event in scene.events}
    return Annotator(replace(places, counted=places.counted & named))(scene)
