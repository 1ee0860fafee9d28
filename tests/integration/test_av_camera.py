"""Cameras through PyAV: real RTSP and HTTP servers that refuse, hang, die, come back, and lie."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av_cameras import ALL, PASSWORD, av_opening, av_options, failure_of, last_of, read_frames
from conftest import find_free_port, wait_until
from servers import RtspServer

from edge_vision.capture.av.errors import REFUSED_PATIENCE_S
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source, silence_limit_s
from edge_vision.core.errors import SourceError, SourceTimeoutError


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT", PASSWORD)
    monkeypatch.setenv("WRONG", "hunter2@/:")


@pytest.fixture(name="camera", scope="module")
def _camera(data: Path) -> Iterator[RtspServer]:
    """A camera that wants a password; its pictures are reordered."""
    server = RtspServer(find_free_port(), data / "video/one-by-one-person-detection.mp4", "op", PASSWORD)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_and_packets_of_an_rtsp_camera_belong_together(
    camera: RtspServer, transport: str, tmp_path: Path
) -> None:
    """Each frame's media time is a packet's; the packets alone are a recording of the same pictures."""
    ring = Ring(1 << 28, 1000)
    frames = read_frames(av_options(camera.url, transport=transport), 30, ring)
    assert [frame.index for frame in frames] == list(range(30))
    times = [frame.media_ns for frame in frames]
    assert times == sorted(set(times))
    assert all(90e6 < later - earlier < 110e6 for earlier, later in pairwise(times[1:]))
    kept = ring.between(0, ALL)
    assert {packet.media_ns for packet in kept} >= set(times)
    assert ring.track is not None
    assert (ring.track.codec, ring.track.wh) == ("h264", (768, 432))
    cut = ring.between(times[15], times[25])
    assert cut[0].is_key
    assert cut[0].media_ns <= times[15]
    with av.open(str(tmp_path / "cut.mp4"), "w") as target:
        stream: Any = target.add_mux_stream("h264", rate=10, width=768, height=432)
        stream.time_base = ring.track.time_base
        for packet in cut:
            given = av.Packet(packet.data)
            given.pts, given.dts, given.duration = packet.pts, packet.dts, packet.duration
            given.time_base, given.stream, given.is_keyframe = ring.track.time_base, stream, packet.is_key
            target.mux(given)
    with open_source(AvOptions(kind="av", path=tmp_path / "cut.mp4"), av_opening()) as source:
        again = [source.read() for _ in cut]
        assert source.read() is None
    assert all(frame is not None for frame in again)


def test_a_wrong_password_is_named_and_not_tried_soon_again(camera: RtspServer) -> None:
    """The camera's 401 is an answer: it would lock the account."""
    error = failure_of(av_options(camera.url, "WRONG"))
    assert "the camera refused the user name or password" in str(error)
    assert error.patience_s == REFUSED_PATIENCE_S
    error = failure_of(av_options(camera.url, None))
    assert "the camera wants a user name and a password" in str(error)
    assert error.patience_s == REFUSED_PATIENCE_S


def test_a_stream_that_is_not_there_is_named(camera: RtspServer) -> None:
    """The camera is there, the path is wrong."""
    error = failure_of(av_options(camera.url + "x"))
    assert "no such stream (404)" in str(error)
    assert error.patience_s == 0


def test_a_camera_that_falls_silent_dies_and_comes_back(data: Path) -> None:
    """Each is noticed in time and said in words; afterwards frames come with later times, and a track of their own."""
    server = RtspServer(find_free_port(), data / "video/car-detection.mp4", "op", PASSWORD)
    ring, epoch_ns = Ring(1 << 28, 1000), time.monotonic_ns()
    options = av_options(server.url, open_timeout_s=1.5)
    try:
        server.start()
        with open_source(options, av_opening(ring, epoch_ns)) as source:
            before = source.read()
            server.send(signal.SIGSTOP)
            asked = time.monotonic()
            with pytest.raises(SourceTimeoutError, match=r"no picture for [\d.]+ s \(read_timeout_s is 2\)"):
                last_of(source)
            assert time.monotonic() - asked < silence_limit_s(options)
        asked = time.monotonic()
        assert "does not answer" in str(failure_of(options))
        assert time.monotonic() - asked < silence_limit_s(options)
        server.send(signal.SIGCONT)
        with open_source(options, av_opening(ring, epoch_ns)) as source:
            assert source.read() is not None
            server.kill()
            with pytest.raises(SourceError, match="the stream ended"):
                last_of(source)
        assert "nobody listens there" in str(failure_of(options))
        server.start()
        after = read_frames(options, 3, ring, epoch_ns)
    finally:
        server.kill()
    assert before is not None
    assert after[0].media_ns > before.media_ns
    assert min(packet.media_ns for packet in ring.between(0, ALL)) > before.media_ns


def test_a_host_that_does_not_exist_cannot_be_reached() -> None:
    """FFmpeg calls it an error of input and output."""
    assert "cannot be reached" in str(failure_of(av_options("rtsp://no-such-host.invalid/x")))


CANARY = """
import logging, sys
logging.basicConfig(level=0)
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.table import open_source
from edge_vision.core.options import Secret
from edge_vision.core.protocols import Source
from edge_vision.runtime.clock import SystemClock
for url in sys.argv[1:]:
    options = AvOptions(kind="av", url=url, username="op", password=Secret(env="WRONG"), open_timeout_s=1)
    try:
        with open_source(options, Opening("gate", SystemClock())) as source:
            source.read()
    except Exception:
        logging.exception("with all that is known")
    print(options, repr(options), options.model_dump_json())
"""


def test_no_password_in_anything_a_process_says(camera: RtspServer, free_port: int) -> None:
    """With every logger at its loudest, and every traceback."""
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        addresses = [camera.url, f"{camera.url}/none", f"rtsp://127.0.0.1:{free_port}/x", "rtsps://no-host.invalid/x"]
        addresses += [f"{scheme}://127.0.0.1:{mute.getsockname()[1]}/x" for scheme in ("rtsp", "http")]
        command = [sys.executable, "-c", CANARY, *addresses]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("with all that is known") == len(addresses)
    assert "hunter2" not in said
    assert "op:" not in said


def test_a_thread_that_only_reads_keeps_every_packet(camera: RtspServer) -> None:
    """What analysis passes over is in the ring all the same."""
    ring, taken = Ring(1 << 28, 1000), list[int]()
    done = threading.Event()

    def capture() -> None:
        with open_source(av_options(camera.url), av_opening(ring)) as source:
            for _ in range(25):
                frame = source.read()
                assert frame is not None
                taken.append(frame.media_ns)
        done.set()

    thread = threading.Thread(target=capture)
    thread.start()
    wait_until(done.is_set, 60, "25 frames")
    thread.join()
    assert set(taken) <= {packet.media_ns for packet in ring.between(0, ALL)}
    assert len(ring.between(0, taken[-1])) >= 25
