"""The daemon with PyAV's decoder: the same answers from a recording, and cameras that come, go and refuse."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, find_free_port, wait_until
from listeners import Heard, zeromq_listener
from servers import RtspServer

CLIP = "one-by-one-person-detection.mp4"
STATUS = "edge-vision/v1/test/status"
PASSWORD = "s3cr:t@/pw"


def _camera(name: str, model: Path, **source: Any) -> dict[str, Any]:
    return {
        "id": name,
        "source": {"kind": "av", **source},
        "pipeline": "object_detection",
        "with": {"model": str(model), "classes": ["person", "car"], "backends": ["onnxruntime"]},
    }


def _camera_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(one) for one in status["cameras"] if one["id"] == name)


def _newest(heard: Heard, name: str) -> dict[str, Any]:
    """What the newest status says of a camera."""
    statuses = [status for status in heard.on(STATUS) if "cameras" in status]
    return _camera_of(statuses[-1], name) if statuses else {"state": "unknown"}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name, count",
    [pytest.param("car-detection.mp4", 377, marks=pytest.mark.full), pytest.param(CLIP, 1394, marks=pytest.mark.full)],
)
def test_a_recording_gives_the_same_answers_through_either_decoder(
    name: str, count: int, data: Path, yolox: Path, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """As many frames, with the same objects at the same times."""
    clip = str(data / "video" / name)
    cameras = [_camera("one", yolox, path=clip), _camera("other", yolox, path=clip)]
    cameras[1]["source"]["kind"] = "file"
    site = write_site(cameras=cameras, publish=[{"kind": "jsonl", "path": str(tmp_path / "out.jsonl")}])
    _, errors = edge_vision("run", site).communicate(timeout=150)
    seen: dict[str, list[Any]] = {"one": [], "other": []}
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        message = json.loads(line)
        frame = message["frame"]
        seen[message["source"]].append((frame["index"], round(frame["media_ms"]), message["objects"]))
    assert len(seen["one"]) == count, errors
    assert seen["one"] == seen["other"]
    assert sum(bool(objects) for _, _, objects in seen["one"]) > 10


@pytest.fixture(name="server")
def _server(data: Path) -> Iterator[RtspServer]:
    server = RtspServer(find_free_port(), data / "video" / CLIP, "op", PASSWORD)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_camera_says_why_it_is_lost_and_comes_back(
    server: RtspServer,
    yolox: Path,
    edge_vision: Start,
    write_site: Callable[..., Path],
    free_port: int,
    tmp_path: Path,
) -> None:
    """A wrong password is named and left alone for a minute; a killed camera is lost, and goes on where it was."""
    (tmp_path / "right").write_text(PASSWORD)
    (tmp_path / "wrong").write_text("hunter2")
    limits = {"url": server.url, "username": "op", "open_timeout_s": 4.0, "read_timeout_s": 2.0}
    site = write_site(
        cameras=[
            _camera("gate", yolox, password={"file": "right"}, **limits),
            _camera("door", yolox, password={"file": "wrong"}, **limits),
        ],
        publish=[{"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}"}],
    )
    gate = "edge-vision/v1/test/gate/detections"
    with zeromq_listener(f"tcp://127.0.0.1:{free_port}") as heard:
        process = edge_vision("run", site)
        heard.wait_for(gate, 10, timeout_s=60)
        wait_until(lambda: "refused" in _newest(heard, "door").get("error", ""), 60, "the reason is in the status")
        server.kill()
        wait_until(lambda: _newest(heard, "gate")["state"] == "lost", 60, "the lost camera is reported")
        before = heard.count(gate)
        server.start()
        heard.wait_for(gate, before + 5, timeout_s=60)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        wait_until(lambda: heard.last(STATUS).get("state") == "offline", 60, "its last word")
        statuses, messages = heard.on(STATUS), heard.on(gate)
    assert process.returncode == 0, errors
    assert "door: " in errors
    assert re.search(r"the camera refused the user name or password; trying again, next in (6\d|7[0-2])\.\d s", errors)
    assert _camera_of(statuses[-1], "door")["reopened"] == 1, "it was asked once"
    frames = _camera_of(statuses[-1], "gate")["frames"]
    assert frames["captured"] == frames["analyzed"] + frames["dropped"]
    media = [message["frame"]["media_ms"] for message in messages]
    assert media == sorted(set(media))
    indices = [message["frame"]["index"] for message in messages]
    assert indices == sorted(set(indices))
    said = output + errors + json.dumps(statuses)
    assert "hunter2" not in said
    assert "s3cr" not in said
    assert "op:" not in said


def test_a_site_whose_library_is_missing_does_not_start(
    server: RtspServer, yolox: Path, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """No camera brings it: 78, with the command that does; not a camera that is lost for ever."""
    (tmp_path / "absent/av").mkdir(parents=True)
    (tmp_path / "absent/av/__init__.py").write_text("raise ModuleNotFoundError('no av', name='av')\n")
    paths = [str(tmp_path / "absent"), os.environ.get("PYTHONPATH", "")]
    site = write_site(cameras=[_camera("gate", yolox, url=server.url)], publish=[{"kind": "jsonl", "path": "-"}])
    process = edge_vision("run", site, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78, errors
    assert "av is not installed: pip install 'edge-vision[av]'" in errors
