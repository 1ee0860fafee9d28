"""The source of kind av on cameras that fall silent: sound, broken packets and open connections are no sign of life."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest
from av_cameras import PASSWORD, Web, av_opening, av_options, failure_of, last_of, serve_web
from conftest import find_free_port
from encoded import picture, record
from servers import RtspServer

from edge_vision.capture.table import open_source, silence_limit_s
from edge_vision.core.errors import SourceTimeoutError


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


def test_both_phases_of_opening_share_one_limit(tmp_path: Path) -> None:
    """A camera that answers late and then falls silent is noticed within `open_timeout_s`, not twice that."""
    tables = record(tmp_path / "clip.ts", 3, container="mpegts").read_bytes()[: 3 * 188]  # that there will be a video
    released = threading.Event()

    def answer(web: Web) -> None:
        released.wait(4)
        web.begin(200, "video/mp2t")
        web.wfile.write(tables * 60)
        web.wfile.flush()
        released.wait(20)

    with serve_web(answer) as url:
        asked = time.monotonic()
        try:
            failure_of(av_options(url, None, open_timeout_s=5, read_timeout_s=0.5))
            took_s = time.monotonic() - asked
        finally:
            released.set()
    assert took_s < 4 + 5 - 0.5


def test_sound_alone_is_no_sign_of_life(tmp_path: Path) -> None:
    """A camera that goes on sending sound, and no picture, is lost after `read_timeout_s`."""
    file = tmp_path / "both.ts"
    _with_sound(file, pictures=10, seconds=40)
    raw = file.read_bytes()
    done = threading.Event()

    def answer(web: Web) -> None:
        web.begin(200, "video/mp2t")
        web.wfile.write(raw[: len(raw) // 4])
        stream = io.BytesIO(raw[len(raw) // 4 :])
        for block in iter(lambda: stream.read(188 * 4), b""):
            if done.wait(0.02):
                return
            web.wfile.write(block)

    with serve_web(answer) as url:
        options = av_options(url, None, read_timeout_s=1.5)
        try:
            with open_source(options, av_opening()) as source:
                assert source.read() is not None
                asked = time.monotonic()
                with pytest.raises(SourceTimeoutError):
                    last_of(source)
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
        options = av_options(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x", open_timeout_s=1)
        asked = time.monotonic()
        error = failure_of(options)
        assert time.monotonic() - asked < silence_limit_s(options)
    assert isinstance(error, SourceTimeoutError)
    assert "does not answer" in str(error)


def test_packets_that_never_become_a_picture_are_no_sign_of_life(tmp_path: Path) -> None:
    """A stream joined behind its only key frame: the error says that packets do come."""
    raw = record(tmp_path / "clip.ts", 400, container="mpegts", g="1000", bf="0", sc_threshold="0").read_bytes()
    done = threading.Event()

    def answer(web: Web) -> None:
        web.begin(200, "video/mp2t")
        web.wfile.write(raw[: 3 * 188])
        rest = io.BytesIO(raw[len(raw) // 188 // 4 * 188 :])
        for block in iter(lambda: rest.read(188), b""):
            if done.wait(0.02):
                return
            web.wfile.write(block)

    with serve_web(answer) as url:
        try:
            error = failure_of(av_options(url, None, open_timeout_s=2, read_timeout_s=1))
        finally:
            done.set()
    assert isinstance(error, SourceTimeoutError)
    assert "packets came: no key frame among them" in str(error)
