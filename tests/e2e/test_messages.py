"""Every message of a real run is as the printed schema says."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
from commands import run
from conftest import Start, find_free_port
from demo_site import CLIP, PARTS
from listeners import zeromq_listener

GATE = {"gate": [[0.5, 1.0], [0.5, 0.0]]}
WHOLE = {"belt": [[0, 0], [1, 0], [1, 1], [0, 1]]}


def test_every_message_of_a_run_is_valid(
    write_site: Callable[..., Path], edge_vision: Start, free_port: int, tmp_path: Path
) -> None:
    """Detections, events and statuses: of cameras that work and that do not, of a server and a broker that are away."""
    schema = json.loads(run("schema", "--messages").output)
    away = find_free_port()
    settings = {"model": PARTS, "lines": GATE, "zones": WHOLE, "presence_s": 0.2}
    remote = {"remote": {"urls": [f"http://127.0.0.1:{away}"], "timeout_s": 0.3}}
    synthetic = {"kind": "synthetic", "frames": 50, "realtime": False}
    absent = {"kind": "rtsp", "url": f"rtsp://127.0.0.1:{away}/x", "open_timeout_s": 1, "read_timeout_s": 1}
    cameras = [
        {"id": "belt", "source": {"kind": "file", "path": CLIP}, "pipeline": "object_counting", "with": settings},
        {"id": "served", "source": synthetic, "pipeline": "object_detection", "with": {"model": PARTS, **remote}},
        {"id": "absent", "source": absent, "pipeline": "object_detection", "with": {"model": PARTS}},
    ]
    publish = [
        {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}"},
        {"kind": "mqtt", "host": "127.0.0.1", "port": away, "kinds": ["status"]},
        {"kind": "jsonl", "path": str(tmp_path / "out.jsonl")},
    ]
    with zeromq_listener(f"tcp://127.0.0.1:{free_port}") as heard:
        process = edge_vision("run", write_site(cameras=cameras, publish=publish), "--max-seconds", "8")
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 70, errors  # the camera that is absent, and the broker that never took a status
        statuses: list[dict[str, Any]] = heard.on("edge-vision/v1/test/status")
    messages = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    kinds = Counter(one["kind"] for one in messages)
    assert set(kinds) == {"detections", "line_crossed", "zone_entered", "zone_left", "presence_changed", "count"}
    assert kinds["detections"] == 550
    validator = jsonschema.Draft202012Validator(schema)
    for one in [*messages, *statuses]:
        found = [error.message for error in validator.iter_errors(one)]
        assert not found, (found, one)
    last = statuses[-1]
    assert last["state"] == "offline"
    states = {camera["id"]: camera["state"] for camera in last["cameras"]}
    assert states == {"belt": "ended", "served": "ended", "absent": "lost"}
    assert [sink["state"] for sink in last["publish"]] == ["online", "lost", "online"]
    servers = [server for model in last["models"] for server in model.get("remote", {}).get("servers", ())]
    assert [server["state"] for server in servers] == ["lost"]
