"""The daemon as a process: how it starts, stops, gives up, and what it tells systemd and the broker."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from conftest import ROOT, Start, find_free_port, wait_until
from listeners import mqtt_listener, zeromq_listener
from servers import Broker

PARTS = str(ROOT / "configs/demo/parts")
CLIP = str(ROOT / "configs/demo/conveyor.mp4")
TOPIC = "edge-vision/v1/test/line/detections"
STATUS = "edge-vision/v1/test/status"


def camera(**source: Any) -> dict[str, Any]:
    """A camera with the demo's detector; by default a rendered line at 25 frames per second."""
    source = source or {"kind": "synthetic"}
    settings = {"model": PARTS, "backends": ["onnxruntime"]}
    return {"id": "line", "source": source, "pipeline": "object_detection", "with": settings}


def read_lines(file: Path) -> list[Any]:
    """The messages in a JSON lines file, as far as whole lines are written."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(
    number: signal.Signals, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGTERM and SIGINT: exit 0, every line whole, no gap in seq."""
    lines = tmp_path / "out.jsonl"
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": str(lines)}]))
    wait_until(lambda: len(read_lines(lines)) > 20, 20, "frames come")
    process.send_signal(number)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 0, errors
    messages = read_lines(lines)
    assert lines.read_bytes().endswith(b"\n")
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))


def test_a_signal_while_models_load_ends_it_before_the_next_model(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGTERM after the first of twelve models: exit 0 without having let a camera in."""
    cameras = []
    for number in range(12):
        (tmp_path / f"model{number}").symlink_to(PARTS)
        one = camera()
        one["with"] = {"model": f"model{number}", "backends": ["openvino"]}
        cameras.append({**one, "id": f"line-{number}"})
    process = edge_vision("run", write_site(cameras=cameras, publish=[]))
    assert process.stderr is not None
    errors = process.stderr
    wait_until(lambda: "runs on" in errors.readline(), 30, "the first model is loaded")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "asked to stop before the first frame" in rest
    assert "started, cameras" not in rest


def test_max_seconds_ends_it_in_order(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """`--max-seconds 2` on a source without end: exit 0 after two seconds of frames."""
    site = write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": "-"}])
    output, errors = edge_vision("run", site, "--max-seconds", "2").communicate(timeout=20)
    frames = len(output.splitlines())
    assert 25 <= frames <= 55, errors


def test_statuses_are_numbered_without_a_gap(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int, broker: Broker
) -> None:
    """From starting to offline, on ZeroMQ and on MQTT alike; the last has the final counts."""
    address = f"tcp://127.0.0.1:{free_port}"
    source = {"kind": "synthetic", "frames": 50, "realtime": False}
    publish = [{"kind": "zeromq", "bind": address}, {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port}]
    with zeromq_listener(address) as heard, mqtt_listener(broker.port) as told:
        process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
        assert process.wait(30) == 0
        wait_until(lambda: all(one.on(STATUS)[-1]["state"] == "offline" for one in (heard, told)), 5, "offline")
    for statuses in (heard.on(STATUS), told.on(STATUS)):
        numbers = [status["seq"] for status in statuses]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert statuses[-1]["cameras"][0]["frames"]["analyzed"] == 50
    assert told.on(STATUS)[0]["state"] == "starting"
    assert told.on(STATUS)[0]["seq"] == 1


def test_synthetic_truth_is_seen(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """As many frames as asked for, as fast as they are analyzed, with the parts that are there."""
    from edge_vision.capture.conveyor import Conveyor

    source = {"kind": "synthetic", "size": [960, 540], "fps": 12.5, "frames": 100, "seed": 5, "realtime": False}
    site = write_site(cameras=[camera(**source)], publish=[{"kind": "jsonl", "path": "-"}])
    output, errors = edge_vision("run", site).communicate(timeout=40)
    messages = [json.loads(line) for line in output.splitlines()]
    assert [message["frame"]["index"] for message in messages] == list(range(100)), errors
    assert messages[50]["frame"]["media_ms"] == 4000.0
    line = Conveyor((960, 540), 12.5, 5)
    parts = sum(len(line.truth(index).class_id) for index in range(100))
    seen = sum(len(message["objects"]) for message in messages)
    assert parts > 100
    assert 0.9 * parts <= seen <= 1.1 * parts


def test_a_broker_that_is_down_at_start_and_goes_away_never_slows_analysis(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """No broker, then a broker, then none, then one again: 25 fps all along, and every message arrives."""
    lines, broker = tmp_path / "out.jsonl", Broker(free_port, tmp_path)
    publish = [{"kind": "jsonl", "path": str(lines)}, {"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    try:
        wait_until(lambda: len(read_lines(lines)) > 50, 20, "frames come without a broker")
        broker.start()
        with mqtt_listener(free_port) as told:
            told.wait_for(TOPIC, 50)
        broker.kill()
        time.sleep(2)
        broker.start()
        with mqtt_listener(free_port) as again:
            again.wait_for(TOPIC, 50)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
            wait_until(lambda: bool(again.on(STATUS)) and again.on(STATUS)[-1]["state"] == "offline", 5, "goodbye")
            heard = {message["seq"] for message in told.on(TOPIC) + again.on(TOPIC)}
    finally:
        broker.kill()
    assert process.returncode == 0, errors
    messages = read_lines(lines)
    frames = [message["frame"]["index"] for message in messages]
    assert len(frames) >= 0.98 * (frames[-1] + 1), "frames were dropped while the broker was away"
    # Nobody listened between the two brokers: what was acknowledged then is gone; nothing else may be.
    missing = sorted({message["seq"] for message in messages} - heard)
    assert missing == list(range(missing[0], missing[0] + len(missing))) if missing else heard
    assert max(heard) == messages[-1]["seq"]
    assert min(heard) == 1


def test_undelivered_messages_end_in_70_with_their_count(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """A broker that never comes: draining takes ten seconds, then exit 70 and the number that was lost."""
    source = {"kind": "synthetic", "frames": 30, "realtime": False}
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    started = time.monotonic()
    process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 70
    assert 9.0 <= time.monotonic() - started <= 20.0
    count = int(errors.rpartition(" messages undelivered")[0].rpartition(" ")[2])
    assert count >= 30


def test_last_will_and_retained_status(edge_vision: Start, write_site: Callable[..., Path], broker: Broker) -> None:
    """A late subscriber learns the state from the retained status; kill -9 makes the broker say offline."""
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "keepalive_s": 5}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    with mqtt_listener(broker.port) as early:
        early.wait_for(TOPIC, 30)
    with mqtt_listener(broker.port, STATUS) as late:
        late.wait_for(STATUS, 1, timeout_s=3)
        status = late.on(STATUS)[0]
        assert status["state"] == "online"
        assert status["models"][0]["backend"] == "onnxruntime"
        assert status["cameras"][0]["id"] == "line"
        process.kill()
        wait_until(lambda: late.on(STATUS)[-1]["state"] == "offline", 15, "the last will")
        assert late.on(STATUS)[-1]["reason"] == "connection lost"
        assert late.on(STATUS)[-1]["boot"] == status["boot"]


def test_drops_are_counted_and_equal_the_gaps(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """A queue that is too small for an absent broker: what its subscriber misses is what the status counts."""
    broker = Broker(free_port, tmp_path)
    lines = tmp_path / "out.jsonl"
    publish = [
        {"kind": "mqtt", "host": "127.0.0.1", "port": free_port, "queue_mb": 0.05},
        {"kind": "jsonl", "path": str(lines)},
    ]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    try:
        wait_until(lambda: len(read_lines(lines)) > 150, 30, "frames pile up")
        broker.start()
        with mqtt_listener(free_port) as told:
            told.wait_for(TOPIC, 50)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
            wait_until(lambda: told.on(STATUS)[-1]["state"] == "offline", 5, "goodbye")
            received = [message["seq"] for message in told.on(TOPIC)]
            statuses = [status for status in told.on(STATUS) if "publish" in status]
    finally:
        broker.kill()
    gaps = max(received) - len(set(received))
    counted = statuses[-1]["publish"][0]["dropped"].get("line/detections", 0)
    assert gaps > 0
    assert counted == gaps
    assert len(read_lines(lines)) == max(received), "the other sink lost nothing"


def test_systemd_hears_ready_progress_and_stopping(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """READY=1 only after the engines have loaded, WATCHDOG=1 while frames flow, STOPPING=1 at the end."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(20)
        site = write_site(cameras=[camera()], publish=[])
        process = edge_vision("run", site, env={**os.environ, "NOTIFY_SOCKET": address})
        said = [systemd.recv(4096).decode() for _ in range(3)]
        assert said[0].startswith("EXTEND_TIMEOUT_USEC="), "before the model loads"
        assert said[1].startswith("EXTEND_TIMEOUT_USEC="), "before it is warmed up"
        assert said[2].startswith("READY=1\nSTATUS=")
        assert systemd.recv(4096).decode().startswith("WATCHDOG=1\nSTATUS=")
        process.send_signal(signal.SIGTERM)
        for _ in range(20):
            said.append(systemd.recv(4096).decode())
            if said[-1] == "STOPPING=1":
                break
        assert said[-1] == "STOPPING=1"
        assert process.wait(15) == 0


def test_a_broken_model_ends_in_78_and_says_so_on_the_way(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Garbage for weights: every runtime's reason in one message, exit 78; sinks hear offline with the reason."""
    bundle = tmp_path / "garbage"
    bundle.mkdir()
    text = (Path(PARTS) / "model.yaml").read_text()
    (bundle / "model.yaml").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("files"))
        + "\nfiles: [{path: parts.onnx, format: onnx}]\n"
    )
    (bundle / "parts.onnx").write_bytes(b"not a network" * 100)
    bad = camera()
    bad["with"] = {"model": str(bundle)}
    address = f"tcp://127.0.0.1:{free_port}"
    with zeromq_listener(address) as heard:
        process = edge_vision("run", write_site(cameras=[bad], publish=[{"kind": "zeromq", "bind": address}]))
        _, errors = process.communicate(timeout=40)
        assert process.returncode == 78
        for backend in ("openvino", "onnxruntime", "opencv_dnn"):
            assert f"  {backend}: " in errors
        assert "Traceback" not in errors
        wait_until(lambda: any(one["state"] == "offline" for one in heard.on(STATUS)), 5, "offline is published")
        assert "no runtime can serve it" in heard.on(STATUS)[-1]["reason"]


def test_labels_that_do_not_match_the_network_end_in_78(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """Four labels for a network of three classes: found at start, with both numbers."""
    bundle = tmp_path / "labels"
    bundle.mkdir()
    text = (Path(PARTS) / "model.yaml").read_text().replace("[bolt, washer, bracket]", "[bolt, washer, bracket, nut]")
    (bundle / "model.yaml").write_text(text)
    (bundle / "parts.onnx").symlink_to(Path(PARTS) / "parts.onnx")
    bad = camera()
    bad["with"] = {"model": str(bundle)}
    _, errors = (process := edge_vision("run", write_site(cameras=[bad]))).communicate(timeout=40)
    assert process.returncode == 78
    assert "4 labels" in errors
    assert "[1, 1260, 8]" in errors


def test_a_damaged_recording_ends_in_70_after_what_could_be_read(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """A file that is not a video: a sentence with its name, exit 70, and the healthy camera finishes its work."""
    (tmp_path / "broken.mp4").write_bytes(Path(CLIP).read_bytes()[:40_000])
    broken = {**camera(kind="file", path="broken.mp4"), "id": "broken"}
    healthy = camera(kind="synthetic", frames=40, realtime=False)
    site = write_site(cameras=[broken, healthy], publish=[{"kind": "jsonl", "path": "-"}])
    output, errors = (process := edge_vision("run", site)).communicate(timeout=40)
    assert process.returncode == 70
    assert f"{tmp_path / 'broken.mp4'}: cannot be opened" in errors
    assert "Traceback" not in errors
    assert sum(json.loads(line)["source"] == "line" for line in output.splitlines()) == 40


def test_an_address_in_use_is_reported_and_taken_when_free(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """A ZeroMQ port that somebody holds: analysis goes on, and publishing starts when the port is free."""
    port = find_free_port()
    address = f"tcp://127.0.0.1:{port}"
    site = write_site(cameras=[camera()], publish=[{"kind": "zeromq", "bind": address}])
    with socket.create_server(("127.0.0.1", port)):
        process = edge_vision("run", site)
        assert process.stderr is not None
        errors = process.stderr
        wait_until(lambda: "in use" in errors.readline(), 20, "the address in use is reported")
    with zeromq_listener(address) as heard:
        heard.wait_for(TOPIC, 20)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)
    assert process.returncode == 0


def test_tail_prints_what_a_site_publishes(edge_vision: Start, write_site: Callable[..., Path], free_port: int) -> None:
    """`edge-vision tail` prints one JSON body per line and ends after the count asked for."""
    address = f"tcp://127.0.0.1:{free_port}"
    tail = edge_vision("tail", address, "--topic", TOPIC, "--count", "10")
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "zeromq", "bind": address}]))
    output, _ = tail.communicate(timeout=30)
    assert tail.returncode == 0
    assert [json.loads(line)["kind"] for line in output.splitlines()] == ["detections"] * 10
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)


def test_a_reader_that_goes_away_ends_its_sink_and_no_other(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """`run SITE | head -3`: said once; the other sink gets everything; what was not read is counted, exit 70."""
    lines = tmp_path / "out.jsonl"
    publish = [{"kind": "jsonl", "path": "-"}, {"kind": "jsonl", "path": str(lines)}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish), "--max-seconds", "3")
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith('{"schema"')
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(30) == 70
    assert errors.count("nobody reads it any more; closed for good") == 1
    assert "messages were dropped on the way out" in errors
    assert "Traceback" not in errors
    messages = read_lines(lines)
    assert len(messages) > 40
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))


def test_with_nobody_left_to_tell_it_ends_at_once(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """`run SITE | head -3` with no other sink: no retries, no ten seconds of draining."""
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": "-"}]))
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"schema"')
    process.stdout.close()
    assert process.wait(6) == 70


def test_a_model_that_fails_on_real_frames_is_no_success(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """It works on the blank picture of the warm-up and fails on bright ones: degraded, said once, exit 70."""
    bundle = tmp_path / "moody"
    bundle.mkdir()
    onnx.save(_fails_on_bright_pictures(), str(bundle / "m.onnx"))
    (bundle / "model.yaml").write_text(
        "version: 1\nname: moody\ntask: detection\nfiles: [{path: m.onnx, format: onnx}]\n"
        "input: {size: [64, 64], color: bgr}\noutput: {format: yolov5}\nlabels: [a]\n"
    )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full((64, 64, 3), 250, np.uint8))
    bad = camera(kind="images", path="pictures")
    bad["with"] = {"model": str(bundle), "backends": ["onnxruntime"]}
    lines = tmp_path / "status"
    address = f"tcp://127.0.0.1:{find_free_port()}"
    with zeromq_listener(address) as heard:
        process = edge_vision("run", write_site(cameras=[bad], publish=[{"kind": "zeromq", "bind": address}]))
        _, errors = process.communicate(timeout=40)
    assert process.returncode == 70, lines
    assert errors.count("analysis failed") == 1
    last = heard.on(STATUS)[-1]["cameras"][0]
    assert last["frames"] == {"captured": 3, "lost": 0, "analyzed": 0, "failed": 3, "dropped": 0}
    assert last["state"] == "failing"
    assert "degraded" in [status["state"] for status in heard.on(STATUS)]


def _fails_on_bright_pictures() -> onnx.ModelProto:
    """A network that gathers at the mean of the picture: an index out of range for bright ones."""
    helper = onnx.helper
    table = helper.make_tensor("table", onnx.TensorProto.FLOAT, [200, 6], [0.0] * 1200)
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["top"], ["index"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["row"], axis=0),
        helper.make_node("Reshape", ["row", "shape"], ["output"]),
    ]
    shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [3], [1, 1, 6])
    picture = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, 1, 6])
    graph = helper.make_graph(nodes, "moody", [picture], [output], [table, shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    "limit,denied", [("max_packet_size 600", False), ("message_size_limit 600", False), ("", True)],
    ids=["announced", "silent", "acl"],
)  # fmt: skip
def test_messages_a_broker_refuses_do_not_hold_up_the_others(
    limit: str, denied: bool, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Too large or not allowed: dropped, counted and said; those of the other camera arrive."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite edge-vision/v1/test/calm/#\ntopic readwrite edge-vision/v1/test/status\n")
    more = f"allow_anonymous true\n{limit}\n" + (f"user root\nacl_file {acl}\n" if denied else "")
    broker = Broker(free_port, tmp_path, more)
    calm = {**camera(kind="images", path="calm"), "id": "calm"}
    (tmp_path / "calm").mkdir()
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"calm/{number:02}.png"), np.zeros((64, 64, 3), np.uint8))
    busy = {**camera(kind="synthetic", frames=3, realtime=False, seed=7), "id": "busy"}
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    lines = tmp_path / "out.jsonl"
    publish.append({"kind": "jsonl", "path": str(lines)})
    try:
        broker.start()
        with mqtt_listener(free_port, "edge-vision/v1/test/calm/#") as told:
            process = edge_vision("run", write_site(cameras=[busy, calm], publish=publish))
            _, errors = process.communicate(timeout=60)
            if not limit.startswith("message_size_limit"):
                told.wait_for("edge-vision/v1/test/calm/detections", 12)
                assert process.returncode == 70, "not everything was delivered"
                assert "3 messages were dropped on the way out" in errors
            assert "dropped: " in errors or "undelivered" in errors
    finally:
        broker.kill()
    assert len(read_lines(lines)) == 15


def test_version_and_help(edge_vision: Start) -> None:
    """The command says its version and lists its subcommands."""
    output, _ = edge_vision("--version").communicate(timeout=20)
    assert output.startswith("edge-vision ")
    output, _ = edge_vision("--help").communicate(timeout=20)
    for name in ("run", "check", "probe", "try", "schema", "demo", "tail"):
        assert f"\n    {name} " in output


def test_demo_runs_with_nothing_but_the_package(edge_vision: Start, tmp_path: Path) -> None:
    """`edge-vision demo`, from any folder: the shipped clip and model, and a summary at the end."""
    process = edge_vision("demo", "--max-seconds", "3", cwd=tmp_path)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    assert "fps" in output
    assert "latency p50" in output
    assert "demo: " in output.splitlines()[-1]
    frames = int(output.splitlines()[-1].split()[1])
    assert frames >= 60


def test_thirty_two_cameras_share_the_slots(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """Thirty-two cameras share the engine's slots: a handful of threads each at most, not thirty-two pools."""
    cameras = [{**camera(kind="synthetic", fps=1), "id": f"line-{number}"} for number in range(32)]
    process = edge_vision("run", write_site(cameras=cameras, publish=[]), stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        errors = process.stderr
        wait_until(lambda: ": started, cameras" in errors.readline(), 30, "the site starts")
        time.sleep(2)
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        assert threads <= 2 * 32 + 16
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
