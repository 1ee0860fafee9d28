"""Clips of a camera's packets: what the ring let go of before it was written is told."""

import itertools
import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from encoded import picture, record, rotate
from servers import absent

from edge_vision.capture.av.source import open_av
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.core.detections import Detections
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.core.scene import Scene
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import EvidenceWriter, Job, Told, Watched
from edge_vision.publish.wire import Evidence
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.tally import Tally
from edge_vision.testing.fakes import NOON, make_frame

av = pytest.importorskip("av")

S = 1_000_000_000
ALL = 1 << 62


def _packets(file: Path) -> tuple[EncodedTrack, list[Packet]]:
    """Those of a recording, as its source gives them to a ring."""
    ring = Ring(1 << 30, 1e6)
    with open_av(AvOptions(kind="av", path=file), Opening("cam", SystemClock(), ring=ring)) as source:
        for _ in itertools.count():
            if source.read() is None:
                break
    assert ring.track is not None
    return ring.track, ring.between(0, ALL)


def _told(folder: Path, ring: Ring, packets: list[Packet], steps: int, **more: Any) -> Evidence:
    """An event 1 s into the packets, a clip from 1 s before it to 5 s after; the writer looks `steps` times."""
    clock, told = SystemClock(), list[Evidence]()
    options = EvidenceOptions.model_validate(
        {"kinds": ["count"], "snapshot": [], "clip": {"before_s": 1, "after_s": 5}}
    ).model_copy(update=more)
    store = Store(folder, int(options.max_mb * 1e6), 1e6, clock)
    cameras: Any = {"cam": Watched(ring=ring)}
    writer = EvidenceWriter(options, store, cameras, lambda _, kept: told.append(kept), clock, Tally())
    begun = next(place for place, packet in enumerate(packets) if packet.media_ns > S)
    for packet in packets[:begun]:
        ring.add(packet)
    frame = make_frame(np.zeros((48, 64, 3), np.uint8), source_id="cam", media_ns=S)
    writer.do(Job(frame, Scene(frame, Detections.empty()), [Told("an event", "count", 0)]))
    writer.mind()
    rest = packets[begun:]
    for step in range(steps):
        for packet in rest[len(rest) * step // steps : len(rest) * (step + 1) // steps]:
            ring.add(packet)
        writer.mind()
    writer.finish()
    assert [one.pending for one in told] == [["clip"], []]
    return told[-1]


@pytest.mark.parametrize("steps", [40, 1])
def test_what_was_gone_before_it_was_written_is_told(steps: int, tmp_path: Path) -> None:
    """A thread that was held up for longer than the ring holds leaves a hole; the clip plays, and its message says."""
    track, packets = _packets(record(tmp_path / "line.mp4", 200, g="10", bf="2"))
    ring = Ring(1 << 30, 2.0)
    ring.begin(track)
    kept = _told(tmp_path / "evidence", ring, packets, steps)
    with av.open(str(tmp_path / "evidence" / kept.files[0].path)) as opened:
        times = [float(frame.time) for frame in opened.decode(video=0)]
    assert times[0] == 0, "players show nothing until then"
    widest = max(after - before for before, after in itertools.pairwise(times))
    said = kept.files[0].shorter
    if steps == 40:
        assert (widest < 0.2, said) == (True, None)
    else:
        assert widest > 3
        assert said is not None
        assert said.startswith("lacks ")
        assert abs(float(said.split()[1]) - widest) < 0.3


def test_a_clip_that_nobody_could_read_is_missing(tmp_path: Path) -> None:
    """MP4 is written of any packets, but of VP9 not whole: the message says so, and nothing lies there."""
    track, packets = _packets(record(tmp_path / "line.webm", 75, codec="libvpx-vp9", deadline="realtime", g="10"))
    ring = Ring(1 << 30, 60)
    ring.begin(track)
    kept = _told(tmp_path / "evidence", ring, packets, 5)
    assert kept.files == []
    assert [(one.type, one.reason.startswith("packets of vp9 make no clip")) for one in kept.missing] == [
        ("clip", True)
    ]
    assert list((tmp_path / "evidence").iterdir()) == []


def _ffprobed(file: Path) -> dict[str, Any]:
    """What ffprobe says of the video in a file."""
    program = shutil.which("ffprobe")
    if program is None:
        absent("ffprobe is not installed: apt-get install ffmpeg")
    command = [program, "-v", "warning", "-show_streams", "-of", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (stream,) = json.loads(done.stdout)["streams"]
    return dict(stream)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_clip_is_shown_upright_as_its_frames_are(degrees: int, tmp_path: Path) -> None:
    """A recording that lies on its side: players turn the clip like the recording, and the message has that size."""
    clip = record(tmp_path / "turned.mp4", 200, g="10", bf="2")
    rotate(clip, degrees)
    track, packets = _packets(clip)
    ring = Ring(1 << 30, 60)
    ring.begin(track)
    (file,) = _told(tmp_path / "evidence", ring, packets, 5).files
    written = tmp_path / "evidence" / file.path
    said = [one.get("rotation") for one in _ffprobed(written).get("side_data_list", [])]
    assert said == [one.get("rotation") for one in _ffprobed(clip).get("side_data_list", [])]
    assert bool(said) == bool(degrees)
    assert (file.width, file.height) == ((48, 64) if degrees % 180 else (64, 48))
    opened = cv2.VideoCapture(str(written), cv2.CAP_FFMPEG)  # which turns, as players do
    _, shown = opened.read()
    opened.release()
    upright = np.rot90(picture(0, (64, 48)), -degrees // 90)
    assert shown is not None
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).mean() < 12


def test_a_recording_on_its_side_that_is_played_again_goes_on_in_its_track(tmp_path: Path) -> None:
    """That it is turned is known from its first picture on, and not forgotten at its end."""
    clip = record(tmp_path / "turned.mp4", 20)
    rotate(clip, 90)
    ring, options = Ring(1 << 30, 1e6), AvOptions(kind="av", path=clip, loop=True)
    with open_av(options, Opening("cam", SystemClock(), ring=ring)) as source:
        for _ in range(50):
            assert source.read() is not None
    assert ring.track is not None
    assert (ring.track.turns, ring.track.shown_wh) == (3, (48, 64))
    assert len(ring.between(0, ALL)) >= 50


@pytest.mark.parametrize("steps", [40, 1])
@pytest.mark.parametrize("share", [0.75, 0.2])
def test_a_clip_that_is_too_large_does_not_cost_the_others_theirs(share: float, steps: int, tmp_path: Path) -> None:
    """It ends early, or is missing where it cannot show its event; what was there stays."""
    track, packets = _packets(record(tmp_path / "line.mp4", 200, wh=(160, 120), g="10", crf="1"))
    most, before = int(sum(len(one.data) for one in packets) * share), 1_000
    clock = SystemClock()
    store = Store(tmp_path / "evidence", most, 1e6, clock)
    store.tidy()
    for number in range(10):
        name = store.begin(NOON + timedelta(seconds=number), "old")
        store.save(f"{name}.0001.clean.jpg", bytes(before))
        store.end(name)
    store.note_ages()
    ring = Ring(1 << 30, 60)
    ring.begin(track)
    kept = _told(tmp_path / "evidence", ring, packets, steps, max_mb=most / 1e6)
    assert len(list((tmp_path / "evidence").glob("*.old.*"))) == 10
    if share > 0.5:
        (clip,) = kept.files
        assert clip.shorter is not None
        assert clip.shorter.endswith("not 5: the clip is larger than half of max_mb")
        assert most / 4 < clip.bytes <= most / 2 + 10_000
    else:
        assert [one.reason for one in kept.missing] == ["the clip is larger than half of max_mb"]
    assert not list((tmp_path / "evidence").glob(".part-*"))


def test_a_ring_too_small_for_the_camera_is_named(tmp_path: Path) -> None:
    """Frames came, but their packets could not be kept: the reason is not that none came, or that the run ended."""
    track, packets = _packets(record(tmp_path / "line.mp4", 200, g="200", sc_threshold="0"))
    ring = Ring(sum(len(one.data) + 320 for one in packets[:40]), 60)
    ring.begin(track)
    kept = _told(tmp_path / "evidence", ring, packets, 40)
    (clip,) = kept.files
    assert clip.shorter is not None
    assert clip.shorter.endswith("not 5: ring_mb is less than what the camera sends from one key frame to the next")
