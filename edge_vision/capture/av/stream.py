"""One open stream: packets out of a container, kept in the ring, decoded into pictures."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar

from edge_vision.capture.av.errors import failed_to_open, failed_to_read, silent
from edge_vision.capture.av.parameters import parameter_sets
from edge_vision.capture.av.pixels import turns_of
from edge_vision.capture.av.timeline import TICKS_PER_S, TIME_BASE, Timeline
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.core.errors import SourceError
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.runtime.clock import Clock

Value = TypeVar("Value")

_MOST_PIXELS: Final = 8192 * 8192
"""A header may claim anything: a picture larger than this is not decoded."""
_HIGHEST_FPS: Final = 1000
_NEVER_STRICT: Final = 19
"""From this version on PyAV takes every metadata; before, bytes that are not UTF-8 were an error unless told."""
_UNTIMED: Final = frozenset({"mpjpeg", "mjpeg", "jpeg_pipe", "image2pipe"})
"""Streams of bare pictures: FFmpeg takes them for 25 a second, whatever their rate is."""


class _Remaining:
    """The seconds until a deadline, for PyAV, which gives each of the two phases of opening the whole time-out."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end_ns = clock.monotonic_ns() + int(seconds * 1e9)

    def __float__(self) -> float:
        return max(0.001, (self._end_ns - self._clock.monotonic_ns()) / 1e9)  # below 0 would be for ever


class Stream:
    """The video stream of a container; made, read and closed by one thread."""

    def __init__(self, av: Any, options: AvOptions, opening: Opening) -> None:
        self.lost = 0
        """Pictures that could not be decoded."""
        self._av = av
        self._options = options
        self._clock = opening.clock
        self._ring = opening.ring
        self._live = options.url is not None
        self._epoch_ns = opening.epoch_ns
        self._timeline: Timeline | None = None
        self._container: Any = None
        self._video: Any = None
        self._untimed = False
        self._wh = (0, 0)
        self._turns = 0
        self._packets: Iterator[Any] = iter(())
        self._pictures: deque[Any] = deque()
        self._seen = False
        self._key = b""

    def open(self) -> None:
        """Open it, or open it again from the beginning. Raises SourceError, SourceTimeoutError."""
        started_ns = self._clock.monotonic_ns()
        options = self._options
        within = (_Remaining(self._clock, options.open_timeout_s), options.read_timeout_s) if self._live else None
        self.close()
        self._container = self._translated(
            lambda: self._av.open(options.address(), timeout=within, options=_settings(options), **_lenient(self._av)),
            lambda error: failed_to_open(self._av, error, options, (self._clock.monotonic_ns() - started_ns) / 1e9),
        )
        self._choose()

    def close(self) -> None:
        """Close the container, if it is open."""
        self._packets = iter(())  # it holds memory of the container
        self._pictures.clear()
        if self._container is not None:
            self._container.close()
            self._container = None

    @property
    def frame_ns(self) -> int:
        """How long a picture lasts, as far as the container says."""
        return self._known_timeline.frame_ticks * 1_000_000_000 // TICKS_PER_S

    @property
    def length_ns(self) -> int:
        """How long the recording is, by its own word; 0 when it does not say."""
        video = self._video
        if video.duration is not None and video.time_base is not None:
            return int(video.duration * video.time_base * 1_000_000_000)
        return int(video.frames) * self.frame_ns

    @property
    def _known_timeline(self) -> Timeline:
        assert self._timeline is not None
        return self._timeline

    def picture(self) -> tuple[Any, int] | None:
        """The next picture and its media time in ns (-1 when it has none); None at the end. Raises like `open`."""
        asked_ns = self._clock.monotonic_ns()

        def waited_s() -> float:
            return (self._clock.monotonic_ns() - asked_ns) / 1e9

        if not self._pictures:
            try:
                self._translated(
                    lambda: self._decode_some(waited_s),
                    lambda error: failed_to_read(self._av, error, self._options, waited_s()),
                )
            except IndexError:  # torn: at the end PyAV stumbles over streams that appeared on the way
                self._packets = iter(())
        if not self._pictures:
            return None
        picture = self._pictures.popleft()
        self._notice_shape(picture)
        return picture, -1 if picture.pts is None else self._known_timeline.media_ns(picture.pts)

    def _decode_some(self, waited_s: Callable[[], float]) -> None:
        """Read packets until there is a picture, or no packet any more."""
        for count, packet in enumerate(self._packets, 1):
            if packet.stream_index == self._video.index:
                if packet.size or packet.pts is not None:  # the last one, which is empty, drives out what is left
                    self._place(packet)
                self._pictures.extend(self._decoded(packet))
            if self._pictures:
                return
            if self._live and waited_s() >= self._options.read_timeout_s:
                raise silent(self._options, waited_s(), count)

    def _place(self, packet: Any) -> None:
        """Give a packet its place in time, and in the ring."""
        video, timeline = self._video, self._known_timeline
        arrived_ns = self._clock.monotonic_ns()
        if self._untimed:
            packet.pts = packet.dts = arrived_ns * TICKS_PER_S // 1_000_000_000
            packet.duration, packet.time_base = 0, TIME_BASE
        origin = None if self._live else video.start_time
        given = (packet.pts, packet.dts, packet.duration, packet.time_base or video.time_base)
        times = timeline.place(*given, arrived_ns, origin)
        packet.pts, packet.dts, packet.time_base = times.pts, times.dts, TIME_BASE
        if self._ring is not None:
            kept = Packet(bytes(packet), *times, bool(packet.is_keyframe), timeline.media_ns(times.pts))
            self._key = kept.data if kept.is_key else self._key
            self._ring.add(kept)

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            pictures: list[Any] = self._video.codec_context.decode(packet)
        except self._av.error.FFmpegError:  # a torn packet; the next key frame mends it
            self.lost += self._seen  # before the first picture there was nothing to lose
            return []
        self._seen = self._seen or bool(pictures)
        return pictures

    def _choose(self) -> None:
        """Take the first video stream, and let the demuxer leave the others out."""
        name, streams = self._options.shown, self._container.streams
        if not streams.video:
            msg = f"{name}: holds no video"
            raise SourceError(msg)
        self._video = video = streams.video[0]
        if video.codec_context is None:
            msg = f"{name}: has a video of a kind that is not known here"
            raise SourceError(msg)
        for other in streams:
            if other is not video:
                other.discard = self._av.stream.Discard.all
        video.codec_context.thread_count = self._options.decoder_threads
        video.codec_context.thread_type = "AUTO"
        self._untimed = self._live and self._container.format.name in _UNTIMED
        if self._timeline is None:
            base_ns = self._clock.monotonic_ns() - self._epoch_ns if self._live else 0
            self._timeline = Timeline(base_ns, _frame_ticks(video), live=self._live)
        else:
            self._timeline.begin_anew()
        self._packets = self._container.demux()  # of all streams: none may pass unseen for a sign of life
        self._tell_ring((video.codec_context.width, video.codec_context.height))

    def _tell_ring(self, wh: tuple[int, int], first_pts: int | None = None) -> None:
        """Begin a track; what came before `first_pts` belongs to another."""
        self._wh = wh
        if self._ring is None:
            return
        context = self._video.codec_context
        codec = context.codec.canonical_name
        told = b"" if first_pts is None else parameter_sets(codec, self._key)
        track = EncodedTrack(codec, told or context.extradata or b"", wh, TIME_BASE, self._turns)
        if self._live or track != self._ring.track:  # a recording that is played again goes on in its track
            self._ring.begin(track, first_pts)

    def _notice_shape(self, picture: Any) -> None:
        """A picture of another size, or turned otherwise, begins another track, with its own packet."""
        wh, turns = (picture.width, picture.height), turns_of(picture)
        if (self._wh, self._turns) != (wh, turns):
            self._turns = turns
            self._tell_ring(wh, picture.pts)

    def _translated(self, call: Callable[[], Value], problem: Callable[[Any], SourceError]) -> Value:
        """What `call` returns; its FFmpegError becomes a SourceError that has the address nowhere, nor as context."""
        try:
            return call()
        except self._av.error.FFmpegError as error:
            translated = problem(error)
        return _raise(translated)


def _raise(error: SourceError) -> NoReturn:
    raise error


def _settings(options: AvOptions) -> dict[str, str]:
    """FFmpeg's options; of itself it lets no recording lead to an address, and no address to a file."""
    settings = {"max_pixels": str(_MOST_PIXELS)}
    if options.url is not None:
        settings["fpsprobesize"] = "0"  # else opening lasts for twenty frames more, for a rate that nobody needs
        if options.url.lower().startswith("rtsp"):
            settings |= {"rtsp_transport": options.transport, "allowed_media_types": "video"}
    return settings


def _lenient(av: Any) -> dict[str, str]:
    """What keeps a title that is not UTF-8 from being an error."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < _NEVER_STRICT else {}


def _frame_ticks(video: Any) -> int:
    """How long a picture lasts; 25 a second where the container does not say."""
    rate = video.average_rate or video.guessed_rate
    return round(TICKS_PER_S / rate) if rate and 0 < rate <= _HIGHEST_FPS else TICKS_PER_S // 25
