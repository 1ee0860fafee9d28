"""Cuts the clips of one camera: what was before an event, and what comes after it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import EvidenceError, MissingLibraryError
from edge_vision.core.frame import Frame
from edge_vision.core.packets import EncodedTrack, Packet, PacketRing
from edge_vision.publish.evidence.clips import PacketClip, Pictures, open_pictures
from edge_vision.publish.evidence.options import ClipOptions
from edge_vision.publish.evidence.samples import Sample, Samples, decoded, encoded, fitted, resized
from edge_vision.publish.evidence.store import Draft, Store, Stored
from edge_vision.runtime.clock import Clock

_NS: Final = 1_000_000_000
_LENGTH_NS: Final = 60 * _NS
"""Events join a clip until it would become longer than this, or than two clips of one event each."""
_MOST_AT_ONCE: Final = 2
"""Clips that are written at once, of one camera; beyond that the older ones end early."""
_SILENT_NS: Final = 5 * _NS
"""Beyond the time asked for: without a newer frame for so long, none is waited for."""
_LATE_NS: Final = 120 * _NS
"""A clip may take this, and ten times its length, of real time; a clock of media that creeps must not hold it open."""
_MS: Final = 1_000_000
_TOO_SMALL: Final = "ring_mb is less than what the camera sends from one key frame to the next"
_TOO_LARGE: Final = "the clip is larger than half of max_mb"
_REORDERED_NS: Final = 400_000_000
"""A picture that is shown before others may come so much later than they do (B-frames)."""
_SLACK_NS: Final = 500_000_000
"""A clip that is shorter by less than this, or than two samples, is as long as was asked for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A clip that is kept: the file, the size of its pictures, the media time it covers, why it ends if too early.

    `holes` are the spans of media time within it that were gone before they could be written.
    """

    file: Stored
    wh: tuple[int, int]
    first_ns: int
    last_ns: int
    why: str
    holes: Sequence[tuple[int, int]] = ()

    def lacks_ns(self, first_ns: int, last_ns: int) -> int:
        """How much of a span of media time lies in holes."""
        return sum(max(0, min(end, last_ns) - max(begin, first_ns)) for begin, end in self.holes)


@dataclass(slots=True, eq=False)
class Cut:
    """A clip that is being written, and who waits for it; all its files are in the set `name`.

    `since_ns` is when it was begun, by the monotonic clock; every other time is media time.
    """

    name: str
    first_ns: int
    end_ns: int
    limit_ns: int
    since_ns: int
    waiting: list[Any] = field(default_factory=list)
    draft: Draft | None = None
    packets: PacketClip | None = None
    pictures: Pictures | None = None
    track: EncodedTrack | None = None
    wh: tuple[int, int] = (0, 0)
    begins_ns: int = -1
    last_ns: int = -1
    next_ns: int = 0
    last_dts: int | None = None
    origin_ns: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    failed: str = ""
    why: str = ""


class Recorder:
    """The clips of one camera. One thread uses it.

    They are made of the packets in `ring`, or, where there is none, of the frames that `see` was given. No event joins
    a clip whose set has more than `most_bytes`: what is being written cannot be removed to make room. A clip ends
    before it has `largest_bytes`: everything older would have to go for it.
    """

    def __init__(
        self,
        source_id: str,
        options: ClipOptions,
        store: Store,
        clock: Clock,
        ring: PacketRing | None = None,
        most_bytes: int = 1 << 60,
        largest_bytes: int = 1 << 60,
    ) -> None:
        self._source_id = source_id
        self._options = options
        self._store = store
        self._clock = clock
        self._ring = ring
        self._most_bytes = most_bytes
        self._largest_bytes = largest_bytes
        self._before_ns = int(options.before_s * _NS)
        self._after_ns = int(options.after_s * _NS)
        self._length_ns = max(_LENGTH_NS, 2 * (self._before_ns + self._after_ns))
        self._samples = Samples(self._before_ns, int(options.ring_mb * 1_000_000))
        self._running: list[Cut] = []
        self._newest_ns = -1
        self._alive_ns = clock.monotonic_ns()

    @property
    def slack_ns(self) -> int:
        """By how much a clip may miss what was asked for without a word."""
        return _SLACK_NS if self._ring is not None else max(_SLACK_NS, int(2 * _NS / self._options.sample_fps))

    def see(self, frame: Frame) -> None:
        """Take in a frame for clips that are made of frames. Raises EvidenceError."""
        if self._ring is not None or frame.media_ns == self._samples.newest_ns:
            return
        if frame.media_ns < self._samples.newest_ns:  # a media clock that began anew
            self._samples.clear()
            for cut in self._running:
                cut.why = cut.why or "the camera's clock began anew"
        image = fitted(frame.image, self._options.max_width)
        for cut in self._running:
            if not cut.why and not cut.failed and cut.last_ns < cut.end_ns:
                self._guarded(cut, lambda cut=cut: self._add_picture(cut, image, frame.media_ns))
        self._samples.add(Sample(frame.media_ns, encoded(image)))

    def follow(self, media_ns: int, timestamp: datetime) -> Cut:
        """The clip of an event at a media time: one that is being written, if it can take it, or a new one."""
        end_ns = media_ns + self._after_ns
        cut = self._running[-1] if self._running else None
        if cut is None or not self._takes(cut, media_ns):
            for older in self._running[: -_MOST_AT_ONCE + 1 or None]:
                older.why = older.why or "too many events for max_mb"
            first_ns = max(0, media_ns - self._before_ns)
            name = self._store.begin(timestamp, self._source_id)
            now_ns = self._clock.monotonic_ns()
            cut = Cut(name, first_ns, end_ns, first_ns + self._length_ns, now_ns, next_ns=first_ns)
            self._running.append(cut)
            for sample in self._samples.since(first_ns):
                self._guarded(cut, lambda sample=sample: self._add_picture(cut, decoded(sample.jpeg), sample.media_ns))
        cut.end_ns = max(cut.end_ns, end_ns)
        return cut

    def _takes(self, cut: Cut, media_ns: int) -> bool:
        """Whether an event may join a clip."""
        if cut.why or cut.failed or not cut.first_ns <= media_ns <= cut.limit_ns - self._after_ns:
            return False
        if media_ns > cut.last_ns and self._is_over(cut, media_ns):
            return False
        written = 0 if cut.draft is None else cut.draft.size
        return self._store.size_of(cut.name) + written <= self._most_bytes

    def _is_over(self, cut: Cut, media_ns: int) -> bool:
        """Whether the packets of a media time are of another opening of the camera, or another picture, than a clip."""
        if self._ring is None:
            return False
        track, kept = self._ring.track, self._ring.between(media_ns, media_ns)
        return track is not None and _differs(cut, track, kept)

    def step(self) -> Iterator[tuple[Cut, Recorded | str]]:
        """Go on with what is being written; each clip that is done, or why there is none."""
        self._listen()
        silent_ns = self._clock.monotonic_ns() - self._alive_ns
        paused = self._ring is not None and self._ring.paused  # before what was kept until then is taken
        for cut in list(self._running):
            if self._ring is not None:
                self._guarded(cut, lambda cut=cut: self._add_packets(cut))
            latest_ns = cut.last_ns if self._ring is None else self._newest_ns - _REORDERED_NS
            reached = latest_ns >= cut.end_ns
            lasted_ns = self._clock.monotonic_ns() - cut.since_ns
            if not reached and paused:
                cut.why = cut.why or "the camera was disabled"
            elif not reached and silent_ns > self._after_ns + _SILENT_NS:
                cut.why = cut.why or self._unless_overrun("no more frames came")
            elif not reached and lasted_ns > 10 * self._length_ns + _LATE_NS:
                cut.why = cut.why or "the camera's clock hardly moves"
            if reached or cut.why or cut.failed:
                self._running.remove(cut)
                yield cut, self._done(cut)

    def finish(self, why: str) -> Iterator[tuple[Cut, Recorded | str]]:
        """End every clip as it is."""
        for cut in self._running:
            cut.why = cut.why or self._unless_overrun(why)
        yield from self.step()

    def _unless_overrun(self, why: str) -> str:
        return _TOO_SMALL if self._ring is not None and self._ring.overrun else why

    def _listen(self) -> None:
        """Note whether frames still come."""
        newest_ns = self._samples.newest_ns if self._ring is None else self._ring.newest_ns
        if newest_ns != self._newest_ns:
            self._newest_ns, self._alive_ns = newest_ns, self._clock.monotonic_ns()

    def _guarded(self, cut: Cut, step: Any) -> None:
        """One step of a clip; when it fails the clip has failed, with the reason."""
        try:
            if not cut.failed:
                step()
        except (EvidenceError, MissingLibraryError) as error:
            cut.failed = str(error)

    def _add_picture(self, cut: Cut, image: NDArray[np.uint8], media_ns: int) -> None:
        if cut.pictures is None:
            cut.wh = (image.shape[1], image.shape[0])
            cut.begins_ns = media_ns
            cut.draft = self._store.open_draft(f"{cut.name}.clip.mp4")
            cut.pictures = open_pictures(cut.draft, self._options.sample_fps, cut.wh)
        elif cut.wh != (image.shape[1], image.shape[0]):
            image = resized(image, cut.wh)
        cut.pictures.add(image, media_ns)
        cut.last_ns = media_ns
        self._grew(cut)
        if cut.draft is not None and cut.draft.size > self._largest_bytes:
            cut.why = _TOO_LARGE

    def _add_packets(self, cut: Cut) -> None:
        assert self._ring is not None
        track = self._ring.track
        kept = self._ring.between(cut.next_ns, cut.end_ns)
        if track is None or self._ring.track is not track:
            return
        if _differs(cut, track, kept):
            cut.why = "the camera was opened anew, disabled for a while, or changed its picture"
            return
        fresh = [packet for packet in kept if cut.last_dts is None or packet.dts > cut.last_dts]
        if not fresh:
            return
        begun = 0 if cut.draft is None else cut.draft.size
        sizes = list(accumulate((len(packet.data) for packet in fresh), initial=begun))
        if sizes[-1] > self._largest_bytes:
            if cut.draft is None:
                raise EvidenceError(_TOO_LARGE)
            cut.why = _TOO_LARGE
            fresh = [packet for packet, size in zip(fresh, sizes[1:], strict=True) if size <= self._largest_bytes]
            if not fresh:
                return
        if cut.packets is None:
            cut.track, cut.wh, cut.origin_ns = track, track.shown_wh, _origin_ns(kept[0], track)
            cut.begins_ns = fresh[0].media_ns
            cut.draft = self._store.open_draft(f"{cut.name}.clip.mp4")
            cut.packets = PacketClip(cut.draft.stream, track)
        elif len(fresh) == len(kept) and fresh[0].media_ns - cut.last_ns > _SLACK_NS:
            cut.holes.append((cut.last_ns, fresh[0].media_ns))
        assert cut.draft is not None
        self._store.grew(cut.draft, sum(len(packet.data) for packet in fresh))  # before they are on the disk
        cut.packets.add(fresh)
        cut.last_dts = fresh[-1].dts
        cut.last_ns = max(cut.last_ns, *(packet.media_ns for packet in fresh))
        cut.next_ns = cut.last_ns
        self._grew(cut)

    def _grew(self, cut: Cut) -> None:
        assert cut.draft is not None
        self._store.grew(cut.draft)

    def _done(self, cut: Cut) -> Recorded | str:
        """Complete the file and keep it; why not, where it cannot be."""
        writer = cut.packets or cut.pictures
        if writer is None or cut.draft is None:
            return cut.failed or cut.why or self._unless_overrun("there are no pictures of that time any more")
        self._guarded(cut, writer.finish)
        try:
            if cut.failed:
                return cut.failed
            return Recorded(self._store.keep(cut.draft), cut.wh, cut.begins_ns, cut.last_ns, cut.why, cut.holes)
        except EvidenceError as error:
            return str(error)
        finally:
            self._store.discard(cut.draft)


def _origin_ns(packet: Packet, track: EncodedTrack) -> int:
    """Where a stream's own time begins in media time: somewhere else after the camera was opened anew."""
    ticks, base = packet.pts * _NS, track.time_base
    return packet.media_ns - ticks * base.numerator // base.denominator


def _differs(cut: Cut, track: EncodedTrack, kept: Sequence[Packet]) -> bool:
    """Whether packets cannot follow those of a clip: they are others, or of another opening of the camera."""
    if cut.track is None:
        return False
    return cut.track is not track or (bool(kept) and abs(_origin_ns(kept[0], track) - cut.origin_ns) > _MS)
