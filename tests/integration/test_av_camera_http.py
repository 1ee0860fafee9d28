"""The source of kind av on HTTP cameras: what they answer, and pictures without times."""

import base64
import time

import cv2
import pytest
from av_cameras import ALL, PASSWORD, Web, av_options, failure_of, read_frames, serve_web
from encoded import picture

from edge_vision.capture.ring import Ring
from edge_vision.core.errors import SourceError


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT", PASSWORD)
    monkeypatch.setenv("WRONG", "hunter2@/:")


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

    def answer(web: Web) -> None:
        page = b"<html>no video here</html>" * 1000
        web.begin(status, length=len(page))
        web.wfile.write(page)

    with serve_web(answer) as url:
        options = av_options(url, "WRONG")
        assert options.shown.endswith("password=***&x=1")
        error = failure_of(options)
    assert words in str(error)
    assert error.patience_s == patience_s


def test_bare_pictures_have_the_time_of_their_arrival() -> None:
    """Motion JPEG has no times: FFmpeg takes every stream of it for one of 25 per second."""
    login = base64.b64encode(f"op:{PASSWORD}".encode()).decode()

    def answer(web: Web) -> None:
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
    with serve_web(answer) as url:
        frames = read_frames(av_options(url), 10, ring)
        times = [frame.media_ns for frame in frames]
        assert times[9] - times[3] > 0.5e9, "six pictures, 200 ms apart; 40 ms as FFmpeg has it"
        assert {packet.media_ns for packet in ring.between(0, ALL)} >= set(times)
        with pytest.raises(SourceError, match="the stream ended"):
            read_frames(av_options(url), 20)
