"""The clips of one camera: cut from its packets as they come, and ended when there is nothing to wait for."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.capture.ring import Ring
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.core.scene import Scene
from edge_vision.publish.evidence.bitstream import parameter_sets, with_start_codes
from edge_vision.publish.evidence.options import ClipOptions, EvidenceOptions
from edge_vision.publish.evidence.recorder import Cut, Recorded, Recorder
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import EvidenceWriter, Job, Told, Watched
from edge_vision.publish.wire import Evidence
from edge_vision.runtime.tally import Tally
from edge_vision.testing.fakes import NOON, FakeClock, make_frame

av = pytest.importorskip("av")

S = 1_000_000_000
CHANGED = "the camera was opened anew, disabled for a while, or changed its picture"
Picture = NDArray[np.uint8]


def _recording(data: Path) -> Path:
    return data / "video/one-by-one-person-detection.mp4"


def _stream(file: Path, seconds: float) -> tuple[EncodedTrack, list[Packet]]:
    """The first packets of a recording as RTSP brings them; a key frame each second, and B-frames."""
    with av.open(str(file)) as opened:
        stream = opened.streams.video[0]
        context, base = stream.codec_context, stream.time_base
        boxed = EncodedTrack("h264", context.extradata, (context.width, context.height), base)
        sets = parameter_sets(boxed)
        found = [
            Packet(
                with_start_codes(bytes(one), sets.length_bytes),
                one.pts,
                one.dts,
                one.duration,
                one.is_keyframe,
                int(one.pts * base * S),
            )
            for one in opened.demux(stream)
            if one.size and one.pts * base < seconds
        ]
    return replace(boxed, extradata=sets.units), found


def _pictures(file: Path, most: int = 1000) -> list[Picture]:
    with av.open(str(file)) as opened:
        return [frame.to_ndarray(format="bgr24") for frame in islice(opened.decode(video=0), most)]


_CAMERAS: list["Camera"] = []


@pytest.fixture(autouse=True)
def _no_file_stays_open() -> Iterator[None]:
    yield
    for camera in _CAMERAS:
        list(camera.recorder.finish("the test is over"))
    _CAMERAS.clear()


class Camera:
    """A recorder beside a ring, and a clock that moves as told."""

    def __init__(self, folder: Path, before_s: float = 1, after_s: float = 1, *, packets: bool = True) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.ring = Ring(50_000_000, before_s + 5)
        store = Store(folder, 100_000_000, 1e6, self.clock)
        options = ClipOptions(before_s=before_s, after_s=after_s)
        _CAMERAS.append(self)
        self.recorder = Recorder("cam", options, store, self.clock, self.ring if packets else None)

    def follow(self, at_s: float) -> Cut:
        """An event."""
        cut = self.recorder.follow(int(at_s * S), NOON)
        cut.waiting.append(at_s)
        return cut

    def done(self) -> list[Recorded | str]:
        """The clips that are done now."""
        return [result for _, result in self.recorder.step()]

    def feed(self, packets: list[Packet], each: int = 1) -> Iterator[list[Recorded | str]]:
        """Packets one by one, 100 ms apart, with a step after each few; what is done with each step."""
        for number, packet in enumerate(packets):
            self.ring.add(packet)
            self.clock.advance(0.1)
            if number % each == 0:
                yield self.done()


@pytest.mark.parametrize("each", [1, 7])
@pytest.mark.parametrize("at_s", [2.0, 2.4, 2.9])
def test_what_was_read_bit_by_bit_is_whole(at_s: float, each: int, data: Path, tmp_path: Path) -> None:
    """From the key frame before what was asked for, every picture to the end, as they are in the recording."""
    camera = Camera(tmp_path)
    track, packets = _stream(_recording(data), 6)
    camera.ring.begin(track)
    now = next(number for number, one in enumerate(packets, 1) if one.media_ns >= at_s * S)
    list(camera.feed(packets[:now]))
    camera.follow(at_s)
    results = [one for found in camera.feed(packets[now:], each) for one in found]
    (clip,) = results
    assert isinstance(clip, Recorded)
    assert (clip.first_ns, clip.why, clip.wh) == (1 * S, "", (768, 432))
    assert at_s + 1 <= clip.last_ns / S <= at_s + 1.5
    found, expected = _pictures(tmp_path / clip.file.path), _pictures(_recording(data), 60)[10:]
    # At the end pictures may be there that are shown later, but that another is made of.
    wanted = round(at_s * 10) + 1
    assert wanted <= len(found) <= wanted + 4
    for number, picture in enumerate(found[:wanted]):
        assert np.array_equal(picture, expected[number]), number


def test_a_camera_that_is_opened_anew_ends_the_clip(data: Path, tmp_path: Path) -> None:
    """Its packets count from the start again: they are those of another clip."""
    camera = Camera(tmp_path, after_s=10)
    track, packets = _stream(_recording(data), 4)
    camera.ring.begin(track)
    list(camera.feed(packets[:20]))
    camera.follow(1.5)
    assert camera.done() == []
    camera.ring.begin(track)
    later = [replace(one, media_ns=one.media_ns + 7 * S) for one in packets[:20]]
    ((clip,),) = [found for found in camera.feed(later) if found]
    assert isinstance(clip, Recorded)
    assert clip.why == CHANGED
    assert 1.8 <= clip.last_ns / S < 2.1
    camera.follow(8.5)
    assert camera.done() == []
    camera.ring.begin(replace(track, wh=(64, 48)))
    (clip,) = camera.done()
    assert isinstance(clip, Recorded)
    assert clip.why == CHANGED


@pytest.mark.parametrize("looks", [True, False], ids=["while it is disabled", "afterwards"])
def test_a_clip_shows_nothing_of_when_its_camera_was_disabled(looks: bool, data: Path, tmp_path: Path) -> None:
    """It ends there, at once; the next one begins behind it, with a key frame, whatever was to be before its event."""
    camera = Camera(tmp_path, before_s=3, after_s=10)
    track, packets = _stream(_recording(data), 8)
    camera.ring.begin(track)
    list(camera.feed(packets[:25]))
    camera.follow(1.5)
    assert camera.done() == []
    camera.ring.pause()
    found = camera.done() if looks else []
    for packet in packets[25:45]:
        camera.ring.add(packet)
    camera.ring.resume()
    found += [one for done in camera.feed(packets[45:]) for one in done]
    (before,) = found
    second = camera.follow(6.0)
    ((cut, behind),) = camera.recorder.finish("the run ended")
    assert cut is second
    assert isinstance(before, Recorded)
    assert isinstance(behind, Recorded)
    assert before.why == ("the camera was disabled" if looks else CHANGED)
    last_ns = max(one.media_ns for one in packets[:25])
    assert before.last_ns == last_ns
    assert behind.first_ns == 5 * S
    expected = _pictures(_recording(data), 80)
    ahead = _pictures(tmp_path / behind.file.path)
    assert len(ahead) >= 25
    assert np.array_equal(ahead[0], expected[50])
    assert len(_pictures(tmp_path / before.file.path)) <= 25


def test_an_event_behind_a_change_has_a_clip_of_its_own(data: Path, tmp_path: Path) -> None:
    """It does not join one that cannot show it, though that is still being written."""
    camera = Camera(tmp_path, after_s=1)
    track, packets = _stream(_recording(data), 6)
    camera.ring.begin(track)
    list(camera.feed(packets[:20]))
    first = camera.follow(1.5)
    assert camera.done() == []
    camera.ring.begin(replace(track, wh=(64, 48)))
    for packet in packets[20:40]:
        camera.ring.add(packet)
    assert camera.follow(1.7) is first, "that it shows"
    second = camera.follow(2.5)
    assert second is not first
    done = dict(camera.recorder.step())
    before, behind = done[first], done[second]
    assert isinstance(before, Recorded)
    assert isinstance(behind, Recorded)
    assert (before.why, before.wh, behind.why, behind.wh) == (CHANGED, (768, 432), "", (64, 48))


def test_nobody_waits_for_a_camera_that_is_silent(data: Path, tmp_path: Path) -> None:
    """Past what was asked for and a while more the clip is what there is."""
    camera = Camera(tmp_path, after_s=2)
    track, packets = _stream(_recording(data), 3)
    camera.ring.begin(track)
    list(camera.feed(packets))
    camera.follow(2.0)
    camera.clock.advance(6.9)
    assert camera.done() == []
    camera.clock.advance(0.3)
    (clip,) = camera.done()
    assert isinstance(clip, Recorded)
    assert (clip.why, round(clip.last_ns / S)) == ("no more frames came", 3)


def test_nobody_waits_for_a_clock_that_creeps(tmp_path: Path) -> None:
    """Frames that all have about the same time must not hold a clip open for ever."""
    camera = Camera(tmp_path, packets=False)
    camera.recorder.see(make_frame(index=0, media_ns=0))
    camera.follow(0.0)
    results: list[Recorded | str] = []
    for number in range(1, 1000):
        camera.clock.advance(1.0)
        camera.recorder.see(make_frame(index=number, media_ns=number))
        results += camera.done()
        if results:
            break
    (clip,) = results
    assert isinstance(clip, Recorded)
    assert clip.why == "the camera's clock hardly moves"


def test_without_packets_there_is_a_reason(tmp_path: Path) -> None:
    """A camera that was never open, and one whose packets of that time are gone."""
    camera = Camera(tmp_path)
    camera.follow(2.0)
    camera.clock.advance(10)
    assert camera.done() == ["no more frames came"]
    assert list(tmp_path.iterdir()) == []


def test_too_many_at_once_end_early(tmp_path: Path) -> None:
    """What is being written of one camera is bounded: with no room in a set each event begins another."""
    camera = Camera(tmp_path, packets=False, before_s=1, after_s=60)
    camera.recorder._most_bytes = -1
    results: list[tuple[float, Recorded | str]] = []
    for number in range(10):
        camera.recorder.see(make_frame(index=number, media_ns=number * S))
        camera.follow(float(number))
        results += [(cut.waiting[0], result) for cut, result in camera.recorder.step()]
        assert len(camera.recorder._running) <= 2
    assert [at_s for at_s, _ in results] == [0, 1, 2, 3, 4, 5, 6, 7]
    for at_s, clip in results:
        assert isinstance(clip, Recorded)
        assert clip.why == "too many events for max_mb"
        assert clip.first_ns <= at_s * S <= clip.last_ns


def test_a_clip_that_does_not_show_the_event_is_not_named(data: Path, tmp_path: Path) -> None:
    """The packets of that time were gone: the message says so, and names no clip of another moment."""
    clock, ring, told = FakeClock(), Ring(50_000_000, 10), list[Evidence]()
    options = EvidenceOptions.model_validate(
        {"kinds": ["count"], "snapshot": [], "clip": {"before_s": 1, "after_s": 2}}
    )
    store = Store(tmp_path, 100_000_000, 1e6, clock)
    watched = {"cam": Watched(ring=ring)}
    writer = EvidenceWriter(options, store, watched, lambda _, kept: told.append(kept), clock, Tally())
    track, packets = _stream(_recording(data), 4)
    ring.begin(track)
    for packet in packets[20:]:
        ring.add(packet)
    for at_s, name in ((0.5, "early"), (2.2, "late")):
        frame = make_frame(media_ns=int(at_s * S))
        writer.do(Job(frame, Scene(frame), [Told(name, "count", 0)]))
    writer.mind()
    writer.finish()
    early, late = told[-2:]
    assert (early.of, early.files) == ("early", [])
    assert [one.reason for one in early.missing] == ["there are no pictures of that time any more"]
    assert (late.of, [one.type for one in late.files]) == ("late", ["clip"])
    assert late.files[0].shorter == "begins 0.2 s before the event, not 1"


def test_a_clip_of_frames_ends_before_it_takes_half_of_the_room(tmp_path: Path) -> None:
    """The next event begins another one."""
    clock, random, largest = FakeClock(), np.random.default_rng(0), 200_000
    store = Store(tmp_path, 100_000_000, 1e6, clock)
    recorder = Recorder("cam", ClipOptions(before_s=0, after_s=60), store, clock, largest_bytes=largest)
    ended: list[Recorded | str] = []
    for number in range(40):
        clock.advance(0.2)
        noise = random.integers(0, 255, (120, 160, 3), np.uint8)
        recorder.see(make_frame(noise, index=number, media_ns=number * S // 5))
        if number == 0:
            first = recorder.follow(0, NOON)
        ended += [result for _, result in recorder.step()]
        if ended:
            break
    (clip,) = ended
    assert isinstance(clip, Recorded)
    assert clip.why == "the clip is larger than half of max_mb"
    assert largest < clip.file.bytes < 1.5 * largest
    assert recorder.follow(clip.last_ns + S, NOON) is not first
    list(recorder.finish("the run ended"))


def test_a_clip_ends_at_the_one_packet_that_is_too_much(data: Path, tmp_path: Path) -> None:
    """What was written until then is whole."""
    camera = Camera(tmp_path, after_s=60)
    track, packets = _stream(_recording(data), 6)
    camera.ring.begin(track)
    camera.recorder._largest_bytes = sum(len(packet.data) for packet in packets) // 2
    feed = camera.feed(packets)
    next(feed)
    camera.follow(0)
    (clip,) = next(done for done in feed if done)
    assert isinstance(clip, Recorded)
    assert clip.why == "the clip is larger than half of max_mb"
    assert 0 < clip.last_ns < packets[-1].media_ns
    assert list(feed)[-1] == []
