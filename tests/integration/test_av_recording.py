"""Recordings through PyAV: the frames of OpenCV, bit for bit, and packets that belong to them."""

import itertools
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ROOT
from encoded import join, picture, record, rotate

from edge_vision.app import probe
from edge_vision.capture.av.pixels import Painter, _Scaler
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions, FileOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source
from edge_vision.core.errors import MissingLibraryError, SourceError
from edge_vision.core.frame import Frame
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.runtime.clock import SystemClock

ALL = 1 << 62
LARGE = 1 << 30


def _frames(
    options: AvOptions | FileOptions, ring: Ring | None = None, lost: list[int] | None = None
) -> Generator[Frame, None, None]:
    opening = Opening("cam", SystemClock(), on_lost=(lost if lost is not None else []).append, ring=ring)
    with open_source(options, opening) as source:
        for _ in itertools.count():
            frame = source.read()
            if frame is None:
                return
            yield frame


def _av(path: Path, **more: Any) -> AvOptions:
    return AvOptions(kind="av", path=path, **more)


def _compare(path: Path, limit: int | None = None) -> int:
    """Hold every frame of a recording, and its packet, against OpenCV's; how many there are."""
    ring, count = Ring(LARGE, 1e6), 0
    known: set[int] = set()
    ours, theirs = _frames(_av(path), ring), _frames(FileOptions(kind="file", path=path))
    with closing(ours), closing(theirs):
        for count, (one, other) in enumerate(itertools.zip_longest(ours, theirs), 1):
            assert one is not None, f"{count - 1} frames, OpenCV has more"
            assert other is not None, f"OpenCV has {count - 1} frames"
            assert one.index == other.index == count - 1
            assert np.array_equal(one.image, other.image), f"frame {count - 1} differs"
            assert abs(one.media_ns - other.media_ns) < 10_000
            if one.media_ns not in known:
                known = {packet.media_ns for packet in ring.between(one.media_ns, ALL)}
            assert one.media_ns in known, f"frame {count - 1} has no packet"
            if count == limit:
                break
    return count


@pytest.mark.parametrize(
    "name, expected",
    [
        ("one-by-one-person-detection.mp4", 1394),
        ("bottle-detection.mp4", 1189),
        ("car-detection.mp4", 377),
        ("worker-zone_h264.mp4", 71),
        ("worker-zone_h265.mp4", 71),
        ("worker-zone_mjpeg.avi", 71),
        ("worker-zone-detection.gif", 71),
        ("mtx_offline_h264.mp4", 30),
        ("mtx_offline_h265.mp4", 30),
        ("mtx_offline_vp9.mp4", 30),
        ("mtx_emptyvideoaudio.mkv", 300),
    ],
)
def test_real_clips_have_the_frames_of_opencv(data: Path, name: str, expected: int) -> None:
    """As many, the same pixels, the same times; the media time of each is that of a packet."""
    assert _compare(data / "video" / name) == expected


@pytest.mark.parametrize(
    "codec, pix_fmt, wh, options",
    [
        ("libx264", "yuv420p", (64, 48), {"bf": "3"}),
        ("libx264", "yuv420p", (50, 34), {}),  # rows that are not a multiple of any register
        ("libx264", "yuv420p", (18, 16), {}),
        ("libx264", "yuv444p", (64, 48), {}),
        ("libx264", "yuv422p", (64, 48), {}),
        ("libx264", "yuvj420p", (64, 48), {}),
        ("libx264", "yuv420p10le", (64, 48), {}),  # goes PyAV's way
        ("mpeg4", "yuv420p", (64, 48), {"bf": "2"}),
    ],
)
def test_made_clips_have_the_pixels_of_opencv(
    codec: str, pix_fmt: str, wh: tuple[int, int], options: dict[str, Any], tmp_path: Path
) -> None:
    """Any layout, with rows of any length."""
    assert _compare(record(tmp_path / "made.mp4", 20, wh, codec, pix_fmt=pix_fmt, **options)) == 20


@pytest.mark.parametrize("space", [1, 5, 9])
@pytest.mark.parametrize("color_range", [1, 2])
def test_what_a_stream_says_of_its_colors_is_taken_as_opencv_takes_it(
    space: int, color_range: int, tmp_path: Path
) -> None:
    """BT.709, 601 and 2020, limited and full: a model sees the same, whichever decoder it is."""
    tags = {"colorspace": space, "color_range": color_range}
    assert _compare(record(tmp_path / "tagged.mp4", 5, tags=tags)) == 5


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_recording_that_lies_on_its_side_is_put_upright(degrees: int, tmp_path: Path) -> None:
    """As OpenCV does."""
    clip = record(tmp_path / "turned.mp4", 5, (64, 48))
    rotate(clip, degrees)
    assert _compare(clip) == 5
    frame = next(_frames(_av(clip)))
    assert frame.wh == ((48, 64) if degrees % 180 else (64, 48))
    assert frame.image.flags.c_contiguous


def test_interlaced_pictures_are_what_was_recorded(tmp_path: Path) -> None:
    """OpenCV 4.14 hands out gray ones instead; so they are held against what was recorded."""
    clip = record(tmp_path / "lines.mp4", 5, (64, 48), flags="+ildct+ilme", crf="5")
    with av.open(str(clip)) as container:
        assert all(one.interlaced_frame for one in container.decode(video=0))
    for number, frame in enumerate(_frames(_av(clip))):
        assert np.abs(frame.image.astype(int) - picture(number, (64, 48))).mean() < 20


def test_pyavs_own_conversion_gives_the_same(tmp_path: Path) -> None:
    """Where its scaler cannot be called, PyAV converts; nobody sees a difference."""
    clip = record(tmp_path / "made.mp4", 3, (50, 34))
    direct, plain = Painter(av), Painter(av)
    assert direct._scaler is not None, "the scaler of this PyAV is not found"
    plain._scaler = None
    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            assert np.array_equal(direct.paint(picture), plain.paint(picture))
    direct.close()
    direct.close()


def test_a_pyav_without_a_scaler_to_call_is_no_error(tmp_path: Path) -> None:
    """Another build may link it in another way."""

    class _Elsewhere:
        class video:  # noqa: N801 - as PyAV has it
            class reformatter:  # noqa: N801
                __file__ = str(tmp_path / "absent.so")

    assert _Scaler.find(_Elsewhere) is None


def test_a_picture_of_another_size_is_a_frame_of_that_size(tmp_path: Path) -> None:
    """The track changes with it: its packets begin with the key frame of the new size, and its parameter sets."""
    parts = [
        record(tmp_path / f"{n}.ts", 10, wh, container="mpegts", bf="0") for n, wh in enumerate([(64, 48), (96, 80)])
    ]
    ring = Ring(LARGE, 1e6)
    frames = list(_frames(_av(join(tmp_path / "both.ts", *parts)), ring))
    assert [frame.wh for frame in frames] == [(64, 48)] * 10 + [(96, 80)] * 10
    times = [frame.media_ns for frame in frames]
    assert times == sorted(set(times))
    assert ring.track is not None
    assert ring.track.wh == (96, 80)
    kept = ring.between(0, ALL)
    assert [packet.media_ns for packet in kept] == times[10:]
    assert _decoded(ring.track, kept) == [(96, 80)] * 10
    before = Ring(LARGE, 1e6)
    list(_frames(_av(parts[0]), before))
    assert before.track is not None
    assert ring.track.extradata.startswith(b"\0\0\0\1\x67")
    assert ring.track.extradata[4:20] in kept[0].data
    assert ring.track.extradata[:20] != before.track.extradata[:20]


def _decoded(track: EncodedTrack, packets: list[Packet]) -> list[tuple[int, int]]:
    """The sizes of the pictures that a decoder makes of what a ring kept."""
    context: Any = av.CodecContext.create(track.codec, "r")
    context.extradata = track.extradata
    sizes = []
    for packet in packets:
        given = av.Packet(packet.data)
        given.pts, given.dts = packet.pts, packet.dts
        sizes += [(frame.width, frame.height) for frame in context.decode(given)]
    return sizes + [(frame.width, frame.height) for frame in context.decode(None)]


@pytest.mark.parametrize(
    "name", ["worker-zone_h264.mp4", "worker-zone_h265.mp4", "mtx_offline_vp9.mp4", "bottle-detection.mp4"]
)
def test_what_the_ring_keeps_can_be_decoded(data: Path, name: str) -> None:
    """With what the track says and nothing else: as many pictures as packets."""
    ring = Ring(LARGE, 1e6)
    count = len(list(_frames(_av(data / "video" / name), ring)))
    track, kept = ring.track, ring.between(0, ALL)
    assert track is not None
    assert len(kept) == count
    assert _decoded(track, kept) == [track.wh] * count


def test_a_loop_keeps_one_track_and_rising_packets(tmp_path: Path) -> None:
    """The second lap follows the first, also with reordered pictures."""
    clip, ring = record(tmp_path / "clip.mp4", 12, bf="2", g="6"), Ring(LARGE, 1e6)
    with closing(_frames(_av(clip, loop=True), ring)) as endless:
        frames = list(itertools.islice(endless, 30))
    kept = ring.between(0, ALL)
    assert [packet.dts for packet in kept] == sorted({packet.dts for packet in kept})
    assert {frame.media_ns for frame in frames} <= {packet.media_ns for packet in kept}
    assert np.array_equal(frames[0].image, frames[24].image)


def test_torn_packets_are_counted_and_leave_a_gap(tmp_path: Path) -> None:
    """What cannot be decoded is lost, not passed over in silence."""
    clip = record(tmp_path / "clip.avi", 20, codec="mjpeg", pix_fmt="yuvj420p")
    raw = bytearray(clip.read_bytes())
    places = [place for place in range(raw.index(b"movi"), len(raw)) if raw.startswith(b"00dc", place)]
    for place in places[5:8]:
        size = int.from_bytes(raw[place + 4 : place + 8], "little")
        raw[place + 8 : place + 8 + size] = bytes(size)
    clip.write_bytes(bytes(raw))
    lost: list[int] = []
    frames = list(_frames(_av(clip), lost=lost))
    assert sum(lost) == 3
    assert [frame.index for frame in frames] == [*range(5), *range(8, 20)]


def test_a_title_that_is_not_utf8_is_no_error(tmp_path: Path) -> None:
    """Nobody reads it: a recorder of another country must not be refused for it."""
    file = record(tmp_path / "made.mp4", 5, (64, 48))
    content = file.read_bytes()
    assert b"Lavf" in content, "FFmpeg signs its files"
    file.write_bytes(content.replace(b"Lavf", b"\xff\xfe\xff\xfe"))
    assert sum(1 for _ in _frames(_av(file))) == 5


def _silence(folder: Path) -> bytes:
    file = folder / "sound.mp4"
    with av.open(str(file), "w") as target:
        stream: Any = target.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return file.read_bytes()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda _: b"", "is not a video"),
        (lambda _: b"\0" * 5000, "not a video|no picture|no video"),
        (lambda _: b"this is not a video\n" * 500, "is not a video"),
        (_silence, "holds no video"),
        (lambda _: b"ffconcat version 1.0\nfile /etc/passwd\n", "a video|opened|no picture|may not"),
        (lambda _: b"v=0\nm=video 5000 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n", "a video|opened"),
    ],
    ids=["empty", "zeros", "text", "sound", "concat", "sdp"],
)
def test_what_is_no_recording_is_refused_in_time(make: Any, words: str, tmp_path: Path) -> None:
    """By what is in it, whatever its name; no other file or address is opened on its word."""
    for name in ("hostile.mp4", "hostile"):
        file = tmp_path / name
        file.write_bytes(make(tmp_path))
        with pytest.raises(SourceError, match=words) as caught:
            list(_frames(_av(file)))
        assert str(file) in str(caught.value)
        assert caught.value.__context__ is None


def test_a_playlist_in_place_of_a_recording_opens_no_address(tmp_path: Path) -> None:
    """A file that somebody may write is no way to make the daemon knock at doors."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0.3)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        file = tmp_path / "list.m3u8"
        file.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(SourceError, match=r"list\.m3u8"):
            list(_frames(_av(file)))
        with pytest.raises(TimeoutError):
            server.accept()


HOSTILE = """
import random, sys
from pathlib import Path
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source
from edge_vision.core.errors import SourceError
from edge_vision.runtime.clock import SystemClock

file = Path(sys.argv[1]) / "broken.bin"
for clip in sys.argv[2:]:
    whole = Path(clip).read_bytes()[:60_000]
    for seed in range(30):
        dice, raw = random.Random(seed), bytearray(whole)
        for _ in range(dice.choice([1, 20, 400])):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        file.write_bytes(bytes(raw[: dice.choice([len(raw), dice.randrange(len(raw))])]))
        last = -1
        try:
            opening = Opening("c", SystemClock(), ring=Ring(100_000, 1))
            with open_source(AvOptions(kind="av", path=file), opening) as source:
                for _ in range(500):
                    frame = source.read()
                    if frame is None:
                        break
                    assert frame.media_ns > last
                    last = frame.media_ns
        except SourceError as error:
            assert str(file) in str(error)
print("unharmed")
"""


@pytest.mark.slow
def test_broken_recordings_break_nothing(tmp_path: Path) -> None:
    """Torn, cut and scrambled files are errors or fewer frames; the process lives, and media time rises."""
    clips = [
        record(tmp_path / "a.mp4", 40, (96, 64), bf="2"),
        record(tmp_path / "b.mkv", 40, (96, 64)),
        record(tmp_path / "c.avi", 30, (50, 34), "mpeg4"),
        record(tmp_path / "d.ts", 40, (50, 34), container="mpegts"),
        record(tmp_path / "e.avi", 5, (50, 34), "rawvideo"),
        record(tmp_path / "f.avi", 20, (50, 34), "mjpeg", pix_fmt="yuvj420p"),
    ]
    command = [sys.executable, "-X", "faulthandler", "-c", HOSTILE, str(tmp_path), *map(str, clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "unharmed\n"
    assert done.stderr == "", "FFmpeg's own log is off"


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites without the kind `av` do not need it."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'edge-vision\[av\]'"):
        list(_frames(_av(tmp_path / "clip.mp4")))
    facts = probe._pyav()
    assert facts["available"] is False
    assert "pip install 'edge-vision[av]'" in facts["reason"]


def test_the_probe_shows_pyav() -> None:
    """Its version, where it lies, and the FFmpeg in it."""
    facts = probe._pyav()
    assert (facts["available"], facts["version"], facts["file"]) == (True, av.__version__, av.__file__)
    assert facts["libraries"]["libavcodec"].count(".") == 2
