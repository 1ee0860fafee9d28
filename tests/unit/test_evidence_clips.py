"""Clips are what they should be: packets unchanged, pictures at their times, and reasons where there is none."""

import io
import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.errors import EvidenceError
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.publish.evidence.bitstream import parameter_sets, with_start_codes
from edge_vision.publish.evidence.clips import PacketClip, open_pictures
from edge_vision.publish.evidence.samples import Sample, Samples, encoded, fitted
from edge_vision.publish.evidence.store import Draft

av = pytest.importorskip("av")

Picture = NDArray[np.uint8]


def _decoded(file: Path | io.BytesIO) -> list[tuple[float, Picture]]:
    """The pictures of a clip, each with its time in seconds."""
    with av.open(file if isinstance(file, io.BytesIO) else str(file)) as opened:
        return [(frame.time, frame.to_ndarray(format="bgr24")) for frame in opened.decode(video=0)]


def _packets(file: Path, most: int) -> tuple[EncodedTrack, list[Packet]]:
    """The first packets of a recording, as a camera that sends what such files hold would bring them."""
    with av.open(str(file)) as opened:
        stream = opened.streams.video[0]
        context = stream.codec_context
        base = stream.time_base
        track = EncodedTrack(context.name, context.extradata or b"", (context.width, context.height), base)
        found = [
            Packet(bytes(one), one.pts, one.dts, one.duration, one.is_keyframe, int(one.pts * base * 10**9))
            for one in opened.demux(stream)
            if one.size
        ]
    return track, found[:most]


def _with_start_codes(track: EncodedTrack, packets: list[Packet]) -> tuple[EncodedTrack, list[Packet]]:
    """The same as RTSP brings it: start codes, parameter sets beside the packets."""
    sets = parameter_sets(track)
    converted = [replace(one, data=with_start_codes(one.data, sets.length_bytes)) for one in packets]
    return replace(track, extradata=sets.units), converted


@pytest.mark.parametrize("name", ["worker-zone_h264.mp4", "worker-zone_h265.mp4", "worker-zone_mjpeg.avi"])
@pytest.mark.parametrize("way", ["as in files", "as in streams", "sets within"])
def test_packets_are_stored_as_they_are(name: str, way: str, data: Path, tmp_path: Path) -> None:
    """What is decoded from the clip is, pixel by pixel, what is decoded from the recording; B-frames included."""
    original = data / "video" / name
    track, packets = _packets(original, 40)
    if way != "as in files":
        track, packets = _with_start_codes(track, packets)
    if way == "sets within":
        packets[0] = replace(packets[0], data=track.extradata + packets[0].data)
        track = replace(track, extradata=b"")
    file = tmp_path / "clip.mp4"
    with file.open("w+b") as stream:
        clip = PacketClip(stream, track)
        clip.add(packets[:7])
        clip.add(packets[7:])
        clip.finish()
    found, expected = _decoded(file), _decoded(original)[:40]
    assert len(found) >= 38  # of those at the end some wait for a later one
    offset = found[0][0] - expected[0][0]
    for (time_s, picture), (then_s, reference) in zip(found, expected, strict=False):
        assert np.array_equal(picture, reference)
        assert abs(time_s - offset - then_s) < 0.002
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", str(file)], capture_output=True, text=True, check=False
    )
    assert (probed.returncode, probed.stderr) == (0, "")


def test_times_of_decoding_that_are_not_known_yet_are_made_up(data: Path, tmp_path: Path) -> None:
    """RTSP tells none for the first packets: they lie far back, and nothing is lost or torn by it."""
    track, packets = _packets(data / "video/worker-zone_h264.mp4", 30)
    long_ago = packets[0].pts - 2 * track.time_base.denominator
    told = [replace(one, dts=long_ago + place) if place < 3 else one for place, one in enumerate(packets)]
    file = tmp_path / "clip.mp4"
    with file.open("w+b") as stream:
        clip = PacketClip(stream, track)
        clip.add(told[:12])
        clip.add(told[12:])
        clip.finish()
    with av.open(str(file)) as opened:
        times = [
            (float(one.dts * one.time_base), float(one.pts * one.time_base))
            for one in opened.demux(video=0)
            if one.size
        ]
    assert len(times) == 30
    assert all(dts <= pts for dts, pts in times)
    assert all(0 < later - dts < 0.3 for (dts, _), (later, _) in pairwise(times))
    for (_, picture), (_, reference) in zip(
        _decoded(file), _decoded(data / "video/worker-zone_h264.mp4"), strict=False
    ):
        assert np.array_equal(picture, reference)


def test_packets_that_mp4_cannot_hold_are_an_error(tmp_path: Path) -> None:
    """With the codec's name; nothing else is raised, whatever the packets are."""
    with (tmp_path / "a").open("w+b") as stream, pytest.raises(EvidenceError, match="does not support 'rawvideo'"):
        PacketClip(stream, EncodedTrack("rawvideo", b"", (64, 48), Fraction(1, 1000)))
    with (tmp_path / "b").open("w+b") as stream, pytest.raises(EvidenceError, match="end too early"):
        PacketClip(stream, EncodedTrack("h264", b"\x01\x02", (64, 48), Fraction(1, 1000)))
    record = b"\x01\x64\x00\x1e\xff\xe1\x00\x01\x67\x01\x00\x01\x68"
    with (tmp_path / "c").open("w+b") as stream:
        clip = PacketClip(stream, EncodedTrack("h264", record, (64, 48), Fraction(1, 1000)))
        with pytest.raises(EvidenceError, match="leads beyond its end"):
            clip.add([Packet(b"\x00\x00\x01\x00\x01", 0, 0, 1, is_key=True, media_ns=0)])


def _gray(level: int, wh: tuple[int, int] = (64, 48)) -> Picture:
    return np.full((wh[1], wh[0], 3), level, np.uint8)


@pytest.mark.parametrize("library", ["av", "cv2"])
def test_pictures_are_shown_at_their_times(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unevenly spaced as they come; OpenCV, which has a steady rate, shows each until the next."""
    if library == "cv2":
        monkeypatch.setitem(__import__("sys").modules, "av", None)
    times_ms, levels = [0, 200, 240, 1000, 1200], [0, 50, 100, 150, 200]
    file = tmp_path / "clip.mp4"
    with file.open("w+b") as stream:
        clip = open_pictures(Draft("clip.mp4", file, stream), 5.0, (64, 48))
        for time_ms, level in zip(times_ms, levels, strict=True):
            clip.add(_gray(level), 7_000_000_000 + time_ms * 1_000_000)
        clip.finish()
    monkeypatch.undo()
    shown = [(time_s, float(picture.mean())) for time_s, picture in _decoded(file)]
    for time_ms, level in zip(times_ms, levels, strict=True):
        near_s = 0.21 if library == "cv2" else 0.001
        assert any(abs(time_s - time_ms / 1000) < near_s and abs(mean - level) < 6 for time_s, mean in shown), time_ms
    assert len(shown) == (5 if library == "av" else 8)


def test_samples_are_those_that_are_needed() -> None:
    """The last seconds, and the one before them; never more bytes than allowed, but one."""
    samples = Samples(2_000_000_000, 1000)
    for number in range(50):
        samples.add(Sample(number * 200_000_000, b"x" * 10))
    assert [one.media_ns // 100_000_000 for one in samples.since(9_000_000_000)] == [90, 92, 94, 96, 98]
    assert samples.since(9_100_000_000)[0].media_ns == 9_000_000_000
    assert len(samples.since(0)) == 11
    assert samples.newest_ns == 9_800_000_000
    samples.add(Sample(9_900_000_000, b"x" * 995))
    assert [len(one.jpeg) for one in samples.since(0)] == [995]


@pytest.mark.parametrize(
    "wh, expected", [((1920, 1080), (960, 540)), ((961, 3), (960, 2)), ((641, 481), (640, 480)), ((1, 1), (2, 2))]
)
def test_pictures_of_a_clip_have_even_sides(wh: tuple[int, int], expected: tuple[int, int]) -> None:
    """And are no wider than asked for."""
    image = fitted(_gray(7, wh), 960)
    assert (image.shape[1], image.shape[0]) == expected
    assert image.mean() == 7


def test_a_picture_that_jpeg_cannot_hold_is_an_error() -> None:
    """More than 65,500 pixels on a side."""
    with pytest.raises(EvidenceError, match="70000x1 cannot be written as JPEG"):
        encoded(np.zeros((1, 70_000, 3), np.uint8))
    picture: Any = cv2.imdecode(np.frombuffer(encoded(_gray(9)), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
