"""Writes what is kept of events on the evidence's own thread: pictures at once, clips when they are over."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edge_vision.core.errors import EvidenceError, MissingLibraryError
from edge_vision.core.frame import Frame
from edge_vision.core.packets import PacketRing
from edge_vision.core.scene import Scene
from edge_vision.publish.annotate import Annotator
from edge_vision.publish.drawing.places import Places
from edge_vision.publish.evidence.options import EvidenceOptions, PictureKind
from edge_vision.publish.evidence.recorder import Cut, Recorded, Recorder
from edge_vision.publish.evidence.samples import encoded
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.wire import Evidence, EvidenceFile, EvidenceType, MissingEvidence
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.tally import Tally
from edge_vision.runtime.trouble import Trouble, traceback_of

_log = logging.getLogger(__name__)

_TIDY_NS: Final = 60_000_000_000
_SHARES: Final = 4
"""Of the room there is, what is being written may take about half: two clips of each camera at once."""
_AGAIN_NS: Final = 60_000_000_000
"""How long the same trouble is not logged again, however often it comes and goes."""
_MOST_LOGGED: Final = 64
_MS: Final = 1_000_000
_TYPES: Final[dict[PictureKind, EvidenceType]] = {"annotated": "snapshot", "clean": "clean"}
NO_MEMORY: Final = "too many pictures wait to be written (queue_mb)"


@dataclass(frozen=True, slots=True)
class Watched:
    """A camera of which evidence is kept: its places, for drawing, and its packets where they may be stored."""

    places: Places = field(default_factory=Places)
    ring: PacketRing | None = None


@dataclass(slots=True, eq=False)
class Request:
    """A picture that somebody asked for; `asked` are those of its camera that no frame has come for. For any thread."""

    kind: PictureKind
    asked: "deque[Request]"
    done: threading.Event = field(default_factory=threading.Event)
    answer: EvidenceFile | str = ""
    given_up: bool = False

    @property
    def outcome(self) -> EvidenceFile | str | None:
        """The file, or why there is none; None while neither is known."""
        return self.answer if self.done.is_set() else None

    def give_up(self) -> str:
        """Ask for it no more; what it waited for. It is not written any more, unless it just is."""
        self.given_up = True
        try:
            self.asked.remove(self)
        except ValueError:
            return "the picture was not written"
        return "no frame came"


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """An event that was told, as far as evidence needs to know it."""

    of: str
    kind: str
    left_out: int


@dataclass(slots=True, eq=False)
class _Kept:
    """What there is of an event so far."""

    told: Told
    media_ns: int
    files: list[EvidenceFile]
    missing: list[MissingEvidence]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A frame to be looked at, the events told of it, and who asked for it; without `scene` there was no memory."""

    frame: Frame
    scene: Scene | None
    told: Sequence[Told] = ()
    requests: Sequence[Request] = ()


class _Camera:
    """What is remembered of a camera: where it looks, its clips, and how many pictures each set has."""

    def __init__(self, places: Places, recorder: Recorder | None) -> None:
        self.places = places
        self.recorder = recorder
        self.pictures: Counter[str] = Counter()


class EvidenceWriter:
    """Writes the pictures and clips of a site, and tells by `put` what there is. One thread uses it.

    What cannot be written is told with the reason; nothing is raised but for bugs.
    """

    def __init__(
        self,
        options: EvidenceOptions,
        store: Store,
        cameras: Mapping[str, Watched],
        put: Callable[[str, Evidence], None],
        clock: Clock,
        tally: Tally,
    ) -> None:
        self._options = options
        self._store = store
        self._put = put
        self._clock = clock
        self._tally = tally
        self._trouble = Trouble()
        self._tidied_ns = 0
        self._most_set_bytes = int(options.max_mb * 1_000_000 / _SHARES / max(1, len(cameras)))
        self._logged: dict[str, int] = {}
        self._cameras = {
            name: _Camera(watched.places, self._recorder(name, watched)) for name, watched in cameras.items()
        }

    @property
    def error(self) -> str:
        """What is wrong, or nothing."""
        return self._trouble.text

    def finish(self) -> None:
        """End every clip as it is."""
        for name, camera in self._cameras.items():
            if camera.recorder is not None:
                self._tell_done(camera, camera.recorder.finish("the run ended"), name)
        try:
            self._store.note_ages()
        except EvidenceError as error:
            self.complain(error)

    def _recorder(self, name: str, watched: Watched) -> Recorder | None:
        clip = self._options.clip if self._options.kinds else None
        if clip is None:
            return None
        most = self._most_set_bytes, int(self._options.max_mb * 1_000_000 / 2)
        return Recorder(name, clip, self._store, self._clock, watched.ring, *most)

    def mind(self) -> None:
        """What is to be done from time to time: go on with the clips, and keep the folder within its limits."""
        for name, camera in self._cameras.items():
            if camera.recorder is not None:
                self._tell_done(camera, camera.recorder.step(), name)
        now_ns = self._clock.monotonic_ns()
        if not self._tidied_ns or now_ns - self._tidied_ns > _TIDY_NS:
            self._tidied_ns = now_ns
            try:
                self._store.tidy()
            except EvidenceError as error:
                self.complain(error)

    def do(self, job: Job) -> None:
        """Look at one frame."""
        camera, frame, clip = self._cameras[job.frame.source_id], job.frame, None
        recorder = camera.recorder
        if recorder is not None and job.scene is not None:
            try:
                recorder.see(frame)
            except (EvidenceError, MissingLibraryError) as error:
                self.complain(error)
        if job.told and recorder is not None:
            clip = recorder.follow(frame.media_ns, frame.timestamp)
        if job.told or job.requests:
            name = clip.name if clip is not None else self._store.begin(frame.timestamp, frame.source_id)
            if job.told:
                self._keep(job, name, clip)
            for request in (one for one in job.requests if not one.given_up):
                request.answer = self._answer(job, name, request.kind)
                self._sync()
                request.done.set()
            if clip is None:
                self._end(camera, name)

    def _keep(self, job: Job, name: str, clip: Cut | None) -> None:
        """Write the pictures of an event's frame, and tell of them."""
        files: list[EvidenceFile] = []
        missing: list[MissingEvidence] = []
        number = self._number(self._cameras[job.frame.source_id], name)
        for kind in self._options.snapshot:
            written = self._picture(job, name, number, kind)
            if isinstance(written, EvidenceFile):
                files.append(written)
            else:
                missing.append(MissingEvidence(_TYPES[kind], written))
        for told in job.told:
            self._tally.add("events")
            kept = _Kept(told, job.frame.media_ns, list(files), list(missing))
            if clip is not None:
                clip.waiting.append(kept)
            self._tell(job.frame.source_id, kept, ["clip"] if clip is not None else [])

    def _answer(self, job: Job, name: str, kind: PictureKind) -> EvidenceFile | str:
        return self._picture(job, name, self._number(self._cameras[job.frame.source_id], name), kind)

    def _number(self, camera: _Camera, name: str) -> int:
        camera.pictures[name] += 1
        return camera.pictures[name]

    def _picture(self, job: Job, name: str, number: int, kind: PictureKind) -> EvidenceFile | str:
        """Write one picture of a frame; why not, where it cannot be."""
        if job.scene is None:
            self._tally.add("missing")
            return NO_MEMORY
        try:
            image = (
                job.frame.image if kind == "clean" else _annotated(job.scene, self._cameras[job.frame.source_id].places)
            )
            jpeg = encoded(image, self._options.jpeg_quality)
            stored = self._store.save(f"{name}.{number:04}.{kind}.jpg", jpeg)
        except (EvidenceError, MissingLibraryError) as error:
            return self._none(error, str(error))
        except Exception as error:  # noqa: BLE001 - a bug concerns this picture alone
            return self._none(error, f"{type(error).__name__}: {error}")
        self._well()
        height, width = image.shape[:2]
        return EvidenceFile(_TYPES[kind], stored.path, stored.sha256, stored.bytes, width, height)

    def _none(self, error: Exception, reason: str) -> str:
        self._tally.add("missing")
        self.complain(error)
        return reason

    def _tell_done(self, camera: _Camera, done: Iterable[tuple[Cut, Recorded | str]], source: str) -> None:
        """Tell the events of each clip that is done what there is of them in the end."""
        for cut, clip in done:
            if isinstance(clip, Recorded):
                self._well()
            elif cut.failed:
                self.complain(EvidenceError(clip))
            for kept in cut.waiting:
                found = self._of_event(camera, kept, clip)
                if isinstance(found, EvidenceFile):
                    kept.files.append(found)
                else:
                    self._tally.add("missing")
                    kept.missing.append(MissingEvidence("clip", found))
                self._tell(source, kept, [])
            self._end(camera, cut.name)

    def _of_event(self, camera: _Camera, kept: _Kept, clip: Recorded | str) -> EvidenceFile | str:
        """The clip as it shows one of its events; why there is none, where it does not show it."""
        wanted = self._options.clip
        assert wanted is not None
        assert camera.recorder is not None
        if isinstance(clip, str):
            return clip
        before_ns, after_ns = kept.media_ns - clip.first_ns, clip.last_ns - kept.media_ns
        if before_ns < 0:
            return "there are no pictures of that time any more"
        if after_ns < 0:
            return clip.why or "no more frames came"
        slack_ns, shorter = camera.recorder.slack_ns, []
        if before_ns + slack_ns < wanted.before_s * 1e9:
            shorter.append(f"begins {before_ns / 1e9:.1f} s before the event, not {wanted.before_s:g}")
        if after_ns + slack_ns < wanted.after_s * 1e9:
            why = f"{wanted.after_s:g}: {clip.why or 'no more frames came'}"
            shorter.append(f"ends {after_ns / 1e9:.1f} s after the event, not {why}")
        from_ns, to_ns = kept.media_ns - int(wanted.before_s * 1e9), kept.media_ns + int(wanted.after_s * 1e9)
        lacks_ns = clip.lacks_ns(from_ns, to_ns)
        if lacks_ns:
            shorter.append(f"lacks {lacks_ns / 1e9:.1f} s: gone before they were written (ring_mb, or a slow disk)")
        file, (width, height) = clip.file, clip.wh
        first_ms, last_ms = round(clip.first_ns / _MS, 3), round(clip.last_ns / _MS, 3)
        said = "; ".join(shorter) or None
        return EvidenceFile("clip", file.path, file.sha256, file.bytes, width, height, first_ms, last_ms, said)

    def _tell(self, source: str, kept: _Kept, pending: list[EvidenceType]) -> None:
        told = kept.told
        self._sync()
        self._put(source, Evidence(told.of, told.kind, kept.files, kept.missing, pending, told.left_out))

    def _sync(self) -> None:
        try:
            self._store.sync()
        except EvidenceError as error:
            self.complain(error)

    def _end(self, camera: _Camera, name: str) -> None:
        camera.pictures.pop(name, None)
        self._store.end(name)

    def _well(self) -> None:
        self._tally.add("written")
        if self._trouble.clear() and self._is_due("again"):
            _log.info("evidence: writing again")

    def complain(self, error: Exception) -> None:
        """Log what is wrong, once a minute."""
        if self._trouble.is_news(error) and self._is_due("".join(letter for letter in str(error) if letter.isalpha())):
            _log.warning(
                "evidence in %s: %s; analysis goes on", self._store.folder, error, exc_info=traceback_of(error)
            )

    def _is_due(self, what: str) -> bool:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._logged.get(what, -_AGAIN_NS) < _AGAIN_NS:
            return False
        self._logged = {**({} if len(self._logged) > _MOST_LOGGED else self._logged), what: now_ns}
        return True


def _annotated(scene: Scene, places: Places) -> Any:
    """The frame with what was seen and told drawn on it; of lines only the counts that the events name are known."""
    named = {getattr(event, "line", None) for event in scene.events}
    return Annotator(replace(places, counted=places.counted & named))(scene)
