"""The daemon as a process: how it starts, stops, gives up, and what it tells systemd."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from conftest import Start, find_free_port, wait_until
from demo_site import CLIP, PARTS, STATUS, camera, read_lines
from listeners import zeromq_listener


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(
    number: signal.Signals, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGTERM and SIGINT: exit 0, every line whole, no gap in seq."""
    lines = tmp_path / "out.jsonl"
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": str(lines)}]))
    wait_until(lambda: len(read_lines(lines)) > 20, 60, "frames come")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    messages = read_lines(lines)
    assert lines.read_bytes().endswith(b"\n")
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))


def test_a_signal_while_models_load_ends_it_before_the_next_model(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """SIGTERM after the first of forty models: exit 0 without having let a camera in."""
    cameras = []
    for number in range(40):
        (tmp_path / f"model{number}").symlink_to(PARTS)
        one = camera()
        one["with"] = {"model": f"model{number}", "backends": ["openvino"]}
        cameras.append({**one, "id": f"line-{number}"})
    process = edge_vision("run", write_site(cameras=cameras, publish=[]))
    assert process.stderr is not None
    errors = process.stderr
    wait_until(lambda: "runs on" in errors.readline(), 60, "the first model is loaded")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "asked to stop before the first frame" in rest
    assert "started, cameras" not in rest


def test_max_seconds_ends_it_in_order(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """`--max-seconds 2` on a source without end: exit 0 after two seconds of frames."""
    site = write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": "-"}])
    output, errors = edge_vision("run", site, "--max-seconds", "2").communicate(timeout=60)
    frames = len(output.splitlines())
    assert 5 <= frames <= 55, errors


def test_synthetic_truth_is_seen(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """As many frames as asked for, as fast as they are analyzed, with the parts that are there."""
    from edge_vision.capture.conveyor import Conveyor

    source = {"kind": "synthetic", "size": [960, 540], "fps": 12.5, "frames": 100, "seed": 5, "realtime": False}
    site = write_site(cameras=[camera(**source)], publish=[{"kind": "jsonl", "path": "-"}])
    output, errors = edge_vision("run", site).communicate(timeout=60)
    messages = [json.loads(line) for line in output.splitlines()]
    assert [message["frame"]["index"] for message in messages] == list(range(100)), errors
    assert messages[50]["frame"]["media_ms"] == 4000.0
    line = Conveyor((960, 540), 12.5, 5)
    parts = sum(len(line.truth(index).class_id) for index in range(100))
    seen = sum(len(message["objects"]) for message in messages)
    assert parts > 100
    assert 0.9 * parts <= seen <= 1.1 * parts


def test_systemd_hears_ready_progress_and_stopping(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """READY=1 only after the engines have loaded, WATCHDOG=1 while frames flow, STOPPING=1 at the end."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(60)
        site = write_site(cameras=[camera()], publish=[])
        process = edge_vision("run", site, env={**os.environ, "NOTIFY_SOCKET": address})
        said = [systemd.recv(4096).decode() for _ in range(4)]
        for number, when in enumerate(("the model loads", "a runtime is tried", "it is warmed up")):
            assert said[number].startswith("EXTEND_TIMEOUT_USEC="), f"before {when}"
        assert said[3].startswith("READY=1\nSTATUS=")
        assert systemd.recv(4096).decode().startswith("WATCHDOG=1\nSTATUS=")
        process.send_signal(signal.SIGTERM)
        for _ in range(20):
            said.append(systemd.recv(4096).decode())
            if said[-1] == "STOPPING=1":
                break
        assert said[-1] == "STOPPING=1"
        assert process.wait(60) == 0


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
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 78
        for backend in ("openvino", "onnxruntime", "opencv_dnn"):
            assert f"  {backend}: " in errors
        assert "Traceback" not in errors
        wait_until(lambda: heard.last(STATUS).get("state") == "offline", 60, "offline is published")
        assert heard.last(STATUS)["reason"] == "model parts: no runtime can serve it with precision f32"


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
    _, errors = (process := edge_vision("run", write_site(cameras=[bad]))).communicate(timeout=60)
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
    output, errors = (process := edge_vision("run", site)).communicate(timeout=60)
    assert process.returncode == 70
    assert f"{tmp_path / 'broken.mp4'}: cannot be opened" in errors
    assert "Traceback" not in errors
    assert sum(json.loads(line)["source"] == "line" for line in output.splitlines()) == 40


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
    address = f"tcp://127.0.0.1:{find_free_port()}"
    with zeromq_listener(address) as heard:
        process = edge_vision("run", write_site(cameras=[bad], publish=[{"kind": "zeromq", "bind": address}]))
        _, errors = process.communicate(timeout=60)
        wait_until(lambda: heard.last(STATUS).get("state") == "offline", 60, "offline is published")
    assert process.returncode == 70, errors
    assert errors.count("analysis failed") == 1
    last = heard.last(STATUS)["cameras"][0]
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


def test_version_and_help(edge_vision: Start) -> None:
    """The command says its version and lists its subcommands."""
    output, _ = edge_vision("--version").communicate(timeout=60)
    assert output.startswith("edge-vision ")
    output, _ = edge_vision("--help").communicate(timeout=60)
    for name in ("run", "check", "probe", "try", "schema", "demo", "tail", "audit", "keys"):
        assert f"\n    {name} " in output


def test_demo_runs_with_nothing_but_the_package(edge_vision: Start, tmp_path: Path) -> None:
    """`edge-vision demo`, from any folder: the shipped clip and model, and a summary at the end."""
    process = edge_vision("demo", "--max-seconds", "3", cwd=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "fps" in output
    assert "latency p50" in output
    assert "demo: " in output.splitlines()[-1]
    assert "parts judged: " in output.splitlines()[-1]
    frames = int(output.splitlines()[-1].split()[1])
    assert frames >= 20


def test_thirty_two_cameras_share_the_slots(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """Thirty-two cameras share the engine's slots: a handful of threads each at most, not thirty-two pools."""
    cameras = [{**camera(kind="synthetic", fps=1), "id": f"line-{number}"} for number in range(32)]
    lines = tmp_path / "out.jsonl"
    process = edge_vision("run", write_site(cameras=cameras, publish=[{"kind": "jsonl", "path": str(lines)}]))
    try:
        wait_until(lambda: len({message["source"] for message in read_lines(lines)}) == 32, 60, "each is analyzed")
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        assert threads <= 2 * 32 + 16
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
