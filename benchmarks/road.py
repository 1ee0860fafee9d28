"""What the whole road costs beside its floor: bare decoding plus bare inference, in processor time per frame.

Every figure is the processor time of a process of its own, start-up apart, on the same clip and the same network. The
floor takes the best of one and two threads for each half. The daemon publishes to a file and to a ZeroMQ subscriber;
its processor time is read from outside, from the first message to the last.

usage: python benchmarks/road.py [--data ../shared/data] [--repeats 3] [--backend onnxruntime]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
import zmq

ROOT = Path(__file__).resolve().parent.parent
CLIP = "video/one-by-one-person-detection.mp4"
MODEL = "models/yolox_nano/yolox_nano.onnx"
ADDRESS = "tcp://127.0.0.1:15970"


def decode(clip: str, threads: int) -> float:
    """Milliseconds of processor time per frame for decoding alone, into one reused buffer."""
    import cv2
    import numpy as np

    capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    capture.grab()
    buffer = np.empty(capture.retrieve()[1].shape, np.uint8)
    frames, started = 0, time.process_time()
    while capture.grab():
        capture.retrieve(buffer)
        frames += 1
    return (time.process_time() - started) / frames * 1e3


def infer(model: str, backend: str, threads: int, count: int = 600) -> float:
    """Milliseconds of processor time per inference alone, on one input, with the runtime's best settings."""
    import numpy as np

    blank = np.random.default_rng(0).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    if backend == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def once() -> None:
            session.run(None, {name: blank})

    else:
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(blank, shared_memory=True))
        once = request.infer
    for _ in range(30):
        once()
    started = time.process_time()
    for _ in range(count):
        once()
    return (time.process_time() - started) / count * 1e3


def cpu_seconds(pid: int) -> float:
    """The processor time of a process and all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def road(data: Path, backend: str) -> dict[str, float]:
    """Milliseconds per frame of the daemon, and its own p50 latencies, between its first and its last message."""
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context, context.socket(zmq.SUB) as socket:
        site = write_site(Path(folder), data, backend)
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.RCVTIMEO, 60_000)
        socket.subscribe(b"edge-vision/v1/bench/gate/")
        socket.connect(ADDRESS)
        command = [sys.executable, "-m", "edge_vision", "run", str(site)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        first = json.loads(socket.recv_multipart()[1])
        cpu, wall = cpu_seconds(process.pid), time.monotonic()
        bodies = [socket.recv_multipart()[1] for _ in range(1393)]
        cpu, wall = cpu_seconds(process.pid) - cpu, time.monotonic() - wall
        assert process.wait(30) == 0
    last = json.loads(bodies[-1])
    assert (first["seq"], last["seq"]) == (1, 1394), "a message was lost"
    latencies = [json.loads(body)["latency_ms"] for body in bodies]
    steps = {step: statistics.median(one[step] for one in latencies) for step in latencies[0]}
    return {"cpu": cpu / len(bodies) * 1e3, "wall": wall / len(bodies) * 1e3, **steps}


def write_site(folder: Path, data: Path, backend: str) -> Path:
    """A site with one camera, the clip, and one model."""
    model = folder / "yolox_nano"
    model.mkdir()
    (model / "yolox_nano.onnx").symlink_to((data / MODEL).resolve())
    bundle: dict[str, Any] = {
        "version": 1,
        "name": "yolox_nano",
        "task": "detection",
        "files": [{"path": "yolox_nano.onnx", "format": "onnx"}],
        "input": {"size": [416, 416], "color": "bgr", "anchor": "top_left"},
        "output": {"format": "yolox"},
        "labels": ["person", *(f"class{number}" for number in range(1, 80))],
    }
    (model / "model.yaml").write_text(yaml.safe_dump(bundle))
    camera = {
        "id": "gate",
        "source": {"kind": "file", "path": str((data / CLIP).resolve())},
        "pipeline": "object_detection",
        "with": {"model": "yolox_nano", "classes": ["person"], "backends": [backend]},
    }
    publish = [{"kind": "jsonl", "path": "out.jsonl"}, {"kind": "zeromq", "bind": ADDRESS}]
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump({"version": 1, "site": "bench", "cameras": [camera], "publish": publish}))
    return site


def child(*arguments: str) -> float:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure, and print each figure's median with the ratio of the road to its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", choices=("onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--limit", type=float, help="end with 1 when the median ratio is above this")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, *rest = options.measure
        print(decode(rest[0], int(rest[1])) if what == "decode" else infer(rest[0], rest[1], int(rest[2])))
        return
    clip, model = str(options.data / CLIP), str(options.data / MODEL)
    ratios, rows = [], []
    for repeat in range(options.repeats):
        decoding = min(child("decode", clip, threads) for threads in ("1", "2"))
        inference = min(child("infer", model, options.backend, threads) for threads in ("1", "2"))
        whole = road(options.data, options.backend)
        floor = decoding + inference
        ratios.append(whole["cpu"] / floor)
        rows.append(
            {"decode": decoding, "inference": inference, "floor": floor, **{f"road {k}": v for k, v in whole.items()}}
        )
        print(
            f"run {repeat + 1}: floor {floor:.2f} ms CPU/frame (decode {decoding:.2f} + inference {inference:.2f}), "
            f"road {whole['cpu']:.2f}, ratio {ratios[-1]:.3f}"
        )
    print(f"\n{options.backend}, median of {options.repeats}:")
    for name in rows[0]:
        print(f"  {name:<20} {statistics.median(row[name] for row in rows):8.3f} ms")
    ratio = statistics.median(ratios)
    print(f"  ratio to the floor   {ratio:8.3f}   (min {min(ratios):.3f}, max {max(ratios):.3f})")
    if options.limit is not None and ratio > options.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
