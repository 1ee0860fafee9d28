"""Cameras that come, go, hang and lie: a real RTSP server, killed, stopped and started again."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, find_free_port, wait_until
from listeners import Heard, mqtt_listener, zeromq_listener
from servers import Broker, RtspServer

GATE = "edge-vision/v1/test/gate/detections"
LINE = "edge-vision/v1/test/line/detections"
STATUS = "edge-vision/v1/test/status"
_OPENING_S = 4.0
"""How long the opening of the camera that fails may take."""
_NOISE_S = 8.0
"""How much longer things may take on a machine that does much else."""


@pytest.fixture
def rtsp(data: Path) -> Iterator[RtspServer]:
    """A running RTSP server with the clip of people walking by one by one."""
    server = RtspServer(find_free_port(), data / "video/one-by-one-person-detection.mp4")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def gate(url: str, model: Path, **source: Any) -> dict[str, Any]:
    """A camera at an RTSP address."""
    return {
        "id": "gate",
        "source": {"kind": "rtsp", "url": url, "read_timeout_s": 2.0, "open_timeout_s": _OPENING_S, **source},
        "pipeline": "object_detection",
        "with": {"model": str(model), "classes": ["person"], "backends": ["onnxruntime"]},
    }


def line(model: Path) -> dict[str, Any]:
    """A second camera that never fails: a rendered line at 10 frames per second."""
    return {
        "id": "line",
        "source": {"kind": "synthetic", "fps": 10},
        "pipeline": "object_detection",
        "with": {"model": str(model), "backends": ["onnxruntime"]},
    }


def state_of(heard: Heard, camera: str) -> str:
    """The state of a camera in the newest status."""
    statuses = [status for status in heard.on(STATUS) if "cameras" in status]
    if not statuses:
        return "unknown"
    return next(str(item["state"]) for item in statuses[-1]["cameras"] if item["id"] == camera)


def largest_pause_s(messages: list[Any]) -> float:
    """The longest time between two frames of a source."""
    times = [message["frame"]["timestamp"] for message in messages]
    seconds = [60 * int(text[14:16]) + float(text[17:26]) for text in times]
    return max((b - a) % 3600 for a, b in pairwise(seconds))


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_lost_camera_comes_back_and_disturbs_nobody(
    rtsp: RtspServer, yolox: Path, edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """Server killed for 20 s: frames again soon after its return; the other camera never pauses."""
    address = f"tcp://127.0.0.1:{free_port}"
    site = write_site(cameras=[gate(rtsp.url, yolox), line(yolox)], publish=[{"kind": "zeromq", "bind": address}])
    with zeromq_listener(address) as heard:
        process = edge_vision("run", site)
        heard.wait_for(GATE, 20, timeout_s=60)
        rtsp.kill()
        wait_until(lambda: state_of(heard, "gate") == "lost", 60, "the lost camera is reported")
        time.sleep(20)
        before = heard.count(GATE)
        rtsp.start()
        returned = time.monotonic()
        heard.wait_for(GATE, before + 5)
        print(f"frames again {time.monotonic() - returned:.1f} s after the server's return")
        wait_until(lambda: state_of(heard, "gate") == "online", 60, "the camera is reported online again")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    messages = heard.on(GATE)
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    indices = [message["frame"]["index"] for message in messages]
    assert indices == sorted(set(indices))
    media = [message["frame"]["media_ms"] for message in messages]
    assert media == sorted(media)
    assert media[-1] - media[0] > 20_000, "media time goes on while the camera is away"
    pause = largest_pause_s(heard.on(LINE))
    print(f"longest pause of the other camera: {pause:.2f} s")
    assert pause < _OPENING_S, "it waits for no opening of the other"


@pytest.mark.slow
def test_a_server_that_stops_talking_is_noticed_in_time(
    rtsp: RtspServer, yolox: Path, edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """SIGSTOP: the connection stands and nothing comes; the camera is lost within its read_timeout_s."""
    address = f"tcp://127.0.0.1:{free_port}"
    site = write_site(cameras=[gate(rtsp.url, yolox)], publish=[{"kind": "zeromq", "bind": address}])
    with zeromq_listener(address) as heard:
        edge_vision("run", site)
        heard.wait_for(GATE, 10, timeout_s=60)
        rtsp.send(signal.SIGSTOP)
        wait_until(lambda: state_of(heard, "gate") == "lost", 2.0 + _NOISE_S, "the silent camera is reported")
        rtsp.send(signal.SIGCONT)
        heard.wait_for(GATE, heard.count(GATE) + 5, timeout_s=60)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [30, 150])
def test_a_clip_over_rtsp_reaches_every_subscriber(
    seconds: int,
    rtsp: RtspServer,
    data: Path,
    yolox: Path,
    broker: Broker,
    edge_vision: Start,
    write_site: Callable[..., Path],
    free_port: int,
    tmp_path: Path,
) -> None:
    """The same messages on JSON lines, ZeroMQ and MQTT; nothing unaccounted for; persons when they walk by.

    Thirty seconds see the first visit; the whole clip (`make test-full`) sees all six.
    """
    lines, address = tmp_path / "out.jsonl", f"tcp://127.0.0.1:{free_port}"
    publish = [
        {"kind": "jsonl", "path": str(lines)},
        {"kind": "zeromq", "bind": address},
        {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port},
    ]
    site = write_site(cameras=[gate(rtsp.url, yolox)], publish=publish)
    with zeromq_listener(address) as heard, mqtt_listener(broker.port) as told:
        process = edge_vision("run", site, "--max-seconds", str(seconds - 3))
        _, errors = process.communicate(timeout=seconds + 40)
        assert process.returncode == 0, errors
        written = [json.loads(one) for one in lines.read_text().splitlines()]
        heard.wait_for(GATE, len(written))
        told.wait_for(GATE, len(written))
        status = [one for one in told.on(STATUS) if "cameras" in one][-1]
    # The last seconds of the full run are behind the end of the clip: the server starts it again.
    first = [message for message in written if message["frame"]["index"] < 1394]
    assert heard.on(GATE) == written
    assert told.on(GATE) == written
    assert [message["seq"] for message in written] == list(range(1, len(written) + 1))
    frames = status["cameras"][0]["frames"]
    assert frames["analyzed"] == len(written)
    assert frames["captured"] == frames["analyzed"] + frames["dropped"]
    assert len(first) >= 0.9 * min(10 * (seconds - 8), 1394)
    zero = first[0]["frame"]["media_ms"] - 100.0 * first[0]["frame"]["index"]
    seen = {round((message["frame"]["media_ms"] - zero) / 100): bool(message["objects"]) for message in first}
    truth = json.loads((data / "video/ground_truth.json").read_text())["one-by-one-person-detection.mp4"]
    visits = [(start, end) for start, end in truth["visit_frames"] if start + 40 < max(seen)]
    assert len(visits) == 6 if seconds > 100 else len(visits) >= 1
    for start, end in visits:
        window = [seen[index] for index in range(start + 10, min(end - 9, max(seen))) if index in seen]
        assert sum(window) >= 0.85 * len(window), f"visit {start}-{end}: seen in {sum(window)} of {len(window)}"
    before = [seen[index] for index in range(truth["visit_frames"][0][0] - 15) if index in seen]
    assert sum(before) <= 0.1 * len(before)


@contextmanager
def _mute_server() -> Iterator[tuple[int, list[float]]]:
    """Accepts connections and never says a word; notes when they came."""
    accepted: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        done = threading.Event()
        held: list[socket.socket] = []

        def accept() -> None:
            while not done.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue
                accepted.append(time.monotonic())

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], accepted
        finally:
            done.set()
            thread.join()
            for connection in held:
                connection.close()


def test_a_server_that_accepts_and_says_nothing_is_noticed_in_time(
    yolox: Path, edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """The open time-out holds: the camera is reported lost, and tried again, each within its limits."""
    address = f"tcp://127.0.0.1:{free_port}"
    with _mute_server() as (port, accepted), zeromq_listener(address) as heard:
        camera = gate(f"rtsp://127.0.0.1:{port}/x", yolox, open_timeout_s=2.0)
        edge_vision("run", write_site(cameras=[camera], publish=[{"kind": "zeromq", "bind": address}]))
        wait_until(lambda: len(accepted) >= 1, 60, "the first connection")
        wait_until(lambda: state_of(heard, "gate") == "lost", 2.0 + _NOISE_S, "the mute camera is reported")
        wait_until(lambda: len(accepted) >= 3, 60, "the camera is tried again")
    pauses = [b - a for a, b in pairwise(accepted)]
    assert all(2.0 <= pause <= 2.0 + 1.8 + _NOISE_S for pause in pauses), pauses


def test_digest_login_and_no_password_in_any_output(
    data: Path, yolox: Path, edge_vision: Start, write_site: Callable[..., Path], free_port: int, tmp_path: Path
) -> None:
    """The camera's password comes from a file, works, and appears nowhere, wrong ones neither."""
    server = RtspServer(find_free_port(), data / "video/one-by-one-person-detection.mp4", "op", "s3cr:t@/pw")
    server.start()
    (tmp_path / "password").write_text("s3cr:t@/pw\n")
    address = f"tcp://127.0.0.1:{free_port}"
    login = {"username": "op", "password": {"file": "password"}}
    site = write_site(cameras=[gate(server.url, yolox, **login)], publish=[{"kind": "zeromq", "bind": address}])
    try:
        with zeromq_listener(address) as heard:
            process = edge_vision("run", site)
            heard.wait_for(GATE, 5, timeout_s=60)
            server.kill()
            wait_until(lambda: state_of(heard, "gate") == "lost", 60, "the lost camera is reported")
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=60)
            everything = output + errors + json.dumps(heard.on(STATUS))
        assert "s3cr" not in everything
        assert "cannot be opened" in errors or "stream ended" in errors
    finally:
        server.kill()
