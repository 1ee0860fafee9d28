"""Cameras through PyAV: real RTSP and HTTP servers that refuse, hang, die, come back, and lie."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from conftest import find_free_port, wait_until
from encoded import picture, record
from servers import RtspServer

from edge_vision.capture.av.errors import REFUSED_PATIENCE_S
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source, silence_limit_s
from edge_vision.core.errors import SourceError, SourceTimeoutError
from edge_vision.core.frame import Frame
from edge_vision.core.options import Secret
from edge_vision.core.protocols import Source
from edge_vision.runtime.clock import SystemClock

PASSWORD = "s3cr:t@/pw"
ALL = 1 << 62


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


def _options(url: str, password: str | None = "RIGHT", **more: Any) -> AvOptions:
    login = {} if password is None else {"username": "op", "password": Secret(env=password)}
    return AvOptions(kind="av", url=url, **{"open_timeout_s": 3, "read_timeout_s": 2, **login, **more})


def _opening(ring: Ring | None = None, epoch_ns: int | None = None, **more: Any) -> Opening:
    clock = SystemClock()
    return Opening("gate", clock, epoch_ns=clock.monotonic_ns() if epoch_ns is None else epoch_ns, ring=ring, **more)


def _read(options: AvOptions, count: int, ring: Ring | None = None, epoch_ns: int | None = None) -> list[Frame]:
    frames = []
    with open_source(options, _opening(ring, epoch_ns)) as source:
        for _ in range(count):
            frame = source.read()
            assert frame is not None
            frames.append(frame)
    return frames


def _last_of(source: Source) -> Frame | None:
    """Read until that fails."""
    frame = None
    for _ in range(200):
        frame = source.read()
    return frame


def _failure(options: AvOptions, count: int = 1) -> SourceError:
    """What is raised; neither it nor anything behind it names the password or the user."""
    with pytest.raises(SourceError) as caught:
        _read(options, count)
    error = caught.value
    assert options.shown in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None
    for secret in (PASSWORD, "s3cr", "hunter2", "op:", "op@"):
        assert secret not in f"{error!r} {error} {error.args}"
    return error


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_and_packets_of_an_rtsp_camera_belong_together(
    camera: RtspServer, transport: str, tmp_path: Path
) -> None:
    """Each frame's media time is a packet's; the packets alone are a recording of the same pictures."""
    ring = Ring(1 << 28, 1000)
    frames = _read(_options(camera.url, transport=transport), 30, ring)
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
    with open_source(AvOptions(kind="av", path=tmp_path / "cut.mp4"), _opening()) as source:
        again = [source.read() for _ in cut]
        assert source.read() is None
    assert all(frame is not None for frame in again)


def test_a_wrong_password_is_named_and_not_tried_soon_again(camera: RtspServer) -> None:
    """The camera's 401 is an answer: it would lock the account."""
    error = _failure(_options(camera.url, "WRONG"))
    assert "the camera refused the user name or password" in str(error)
    assert error.patience_s == REFUSED_PATIENCE_S
    error = _failure(_options(camera.url, None))
    assert "the camera wants a user name and a password" in str(error)
    assert error.patience_s == REFUSED_PATIENCE_S


def test_a_stream_that_is_not_there_is_named(camera: RtspServer) -> None:
    """The camera is there, the path is wrong."""
    error = _failure(_options(camera.url + "x"))
    assert "no such stream (404)" in str(error)
    assert error.patience_s == 0


def test_a_camera_that_falls_silent_dies_and_comes_back(data: Path) -> None:
    """Each is noticed in time and said in words; afterwards frames come with later times, and a track of their own."""
    server = RtspServer(find_free_port(), data / "video/car-detection.mp4", "op", PASSWORD)
    ring, epoch_ns = Ring(1 << 28, 1000), time.monotonic_ns()
    options = _options(server.url, open_timeout_s=1.5)
    try:
        server.start()
        with open_source(options, _opening(ring, epoch_ns)) as source:
            before = source.read()
            server.send(signal.SIGSTOP)
            asked = time.monotonic()
            with pytest.raises(SourceTimeoutError, match=r"no picture for [\d.]+ s \(read_timeout_s is 2\)"):
                _last_of(source)
            assert time.monotonic() - asked < silence_limit_s(options)
        asked = time.monotonic()
        assert "does not answer" in str(_failure(options))
        assert time.monotonic() - asked < silence_limit_s(options)
        server.send(signal.SIGCONT)
        with open_source(options, _opening(ring, epoch_ns)) as source:
            assert source.read() is not None
            server.kill()
            with pytest.raises(SourceError, match="the stream ended"):
                _last_of(source)
        assert "nobody listens there" in str(_failure(options))
        server.start()
        after = _read(options, 3, ring, epoch_ns)
    finally:
        server.kill()
    assert before is not None
    assert after[0].media_ns > before.media_ns
    assert min(packet.media_ns for packet in ring.between(0, ALL)) > before.media_ns


class _Web(BaseHTTPRequestHandler):
    """Answers as a test wants."""

    answer: Callable[["_Web"], None]

    def do_GET(self) -> None:
        """Answer one client, who may leave early."""
        try:
            type(self).answer(self)
        except OSError:
            self.close_connection = True

    def begin(self, status: int, kind: str = "text/html", length: int | None = None) -> None:
        """The head of an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


@contextmanager
def _web(answer: Callable[[_Web], None]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Web", (_Web,), {"answer": answer}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live?password=s3cr&x=1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "status, words, patience_s",
    [
        (401, "refused the user name or password", 60),
        (403, "refused the user name or password", 60),
        (404, "no such stream", 0),
        (429, "too often", 0),
        (410, "does not give this stream", 0),
        (500, "a fault of its own", 0),
        (200, "is not a video", 0),
    ],
)
def test_what_an_http_camera_answers_is_said(status: int, words: str, patience_s: float) -> None:
    """In words, and without what is secret in the address."""

    def answer(web: _Web) -> None:
        page = b"<html>no video here</html>" * 1000
        web.begin(status, length=len(page))
        web.wfile.write(page)

    with _web(answer) as url:
        options = _options(url, "WRONG")
        assert options.shown.endswith("password=***&x=1")
        error = _failure(options)
    assert words in str(error)
    assert error.patience_s == patience_s


def test_both_phases_of_opening_share_one_limit(tmp_path: Path) -> None:
    """A camera that answers late and then falls silent is noticed within `open_timeout_s`, not twice that."""
    tables = record(tmp_path / "clip.ts", 3, container="mpegts").read_bytes()[: 3 * 188]  # that there will be a video
    released = threading.Event()

    def answer(web: _Web) -> None:
        released.wait(4)
        web.begin(200, "video/mp2t")
        web.wfile.write(tables * 60)
        web.wfile.flush()
        released.wait(20)

    with _web(answer) as url:
        asked = time.monotonic()
        try:
            _failure(_options(url, None, open_timeout_s=5, read_timeout_s=0.5))
            took_s = time.monotonic() - asked
        finally:
            released.set()
    assert took_s < 4 + 5 - 0.5


def test_bare_pictures_have_the_time_of_their_arrival() -> None:
    """Motion JPEG has no times: FFmpeg takes every stream of it for one of 25 per second."""
    login = base64.b64encode(f"op:{PASSWORD}".encode()).decode()

    def answer(web: _Web) -> None:
        if web.headers["Authorization"] != f"Basic {login}":
            web.begin(401)
            return
        web.begin(200, "multipart/x-mixed-replace; boundary=frame")
        for number in range(12):
            jpeg = cv2.imencode(".jpg", picture(number, (320, 192)))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            web.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.2)

    ring = Ring(1 << 28, 1000)
    with _web(answer) as url:
        frames = _read(_options(url), 10, ring)
        times = [frame.media_ns for frame in frames]
        assert times[9] - times[3] > 0.5e9, "six pictures, 200 ms apart; 40 ms as FFmpeg has it"
        assert {packet.media_ns for packet in ring.between(0, ALL)} >= set(times)
        with pytest.raises(SourceError, match="the stream ended"):
            _read(_options(url), 20)


def test_sound_alone_is_no_sign_of_life(tmp_path: Path) -> None:
    """A camera that goes on sending sound, and no picture, is lost after `read_timeout_s`."""
    file = tmp_path / "both.ts"
    _with_sound(file, pictures=10, seconds=40)
    raw = file.read_bytes()
    done = threading.Event()

    def answer(web: _Web) -> None:
        web.begin(200, "video/mp2t")
        web.wfile.write(raw[: len(raw) // 4])
        stream = io.BytesIO(raw[len(raw) // 4 :])
        for block in iter(lambda: stream.read(188 * 4), b""):
            if done.wait(0.02):
                return
            web.wfile.write(block)

    with _web(answer) as url:
        options = _options(url, None, read_timeout_s=1.5)
        try:
            with open_source(options, _opening()) as source:
                assert source.read() is not None
                asked = time.monotonic()
                with pytest.raises(SourceTimeoutError):
                    _last_of(source)
            assert time.monotonic() - asked < silence_limit_s(options)
        finally:
            done.set()


def _with_sound(file: Path, pictures: int, seconds: int) -> None:
    """Some pictures, and sound for much longer."""
    import numpy as np

    with av.open(str(file), "w", format="mpegts") as target:
        video: Any = target.add_stream("libx264", rate=25, options={"bf": "0", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = target.add_stream("mp2", rate=32000)
        for number in range(pictures):
            target.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, (64, 48)), format="bgr24")))
        target.mux(video.encode())
        dice = np.random.default_rng(0)
        for number in range(seconds * 32000 // 1152):
            noise = dice.integers(-9000, 9000, (1, 1152 * 2)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="stereo")
            frame.rate, frame.pts = 32000, number * 1152
            target.mux(audio.encode(frame))
        target.mux(audio.encode())


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_mute_server_is_noticed_in_time(scheme: str) -> None:
    """It takes connections and says nothing, TLS or not; the error is that, and not what FFmpeg makes of it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        options = _options(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x", open_timeout_s=1)
        asked = time.monotonic()
        error = _failure(options)
        assert time.monotonic() - asked < silence_limit_s(options)
    assert isinstance(error, SourceTimeoutError)
    assert "does not answer" in str(error)


def test_a_host_that_does_not_exist_cannot_be_reached() -> None:
    """FFmpeg calls it an error of input and output."""
    assert "cannot be reached" in str(_failure(_options("rtsp://no-such-host.invalid/x")))


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
        with open_source(_options(camera.url), _opening(ring)) as source:
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


def test_packets_that_never_become_a_picture_are_no_sign_of_life(tmp_path: Path) -> None:
    """A stream joined behind its only key frame: the error says that packets do come."""
    raw = record(tmp_path / "clip.ts", 400, container="mpegts", g="1000", bf="0", sc_threshold="0").read_bytes()
    done = threading.Event()

    def answer(web: _Web) -> None:
        web.begin(200, "video/mp2t")
        web.wfile.write(raw[: 3 * 188])
        rest = io.BytesIO(raw[len(raw) // 188 // 4 * 188 :])
        for block in iter(lambda: rest.read(188), b""):
            if done.wait(0.02):
                return
            web.wfile.write(block)

    with _web(answer) as url:
        try:
            error = _failure(_options(url, None, open_timeout_s=2, read_timeout_s=1))
        finally:
            done.set()
    assert isinstance(error, SourceTimeoutError)
    assert "packets came: no key frame among them" in str(error)
