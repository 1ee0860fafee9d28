"""What every test may use: the real data, a free port, processes that always end, and no thread left alive."""

import itertools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from servers import Broker
from zmq.utils.garbage import GarbageCollectorThread

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EDGE_VISION_SHARED", ROOT.parent / "shared"))
RANDOM = np.random.default_rng(11)
"""Random numbers for tests: each test gets the same ones, in whatever order the tests run."""
_FIRST = RANDOM.bit_generator.state
_TESTS = itertools.count()


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a shell has its background jobs, and all their children, ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Let `RANDOM` begin anew."""
    RANDOM.bit_generator.state = _FIRST


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What outlives a process ends with its test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{next(_TESTS)}"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real models, clips and pictures; skips the test where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: this test needs its real models and clips")
    return folder


@pytest.fixture(scope="session")
def coco_labels(data: Path) -> list[str]:
    """The 80 names of COCO, in the order of their ids."""
    annotations = yaml.safe_load((data / "images/coco_det_ccby/annotations.json").read_text())
    return [category["name"] for category in sorted(annotations["categories"], key=lambda one: one["id"])]


@pytest.fixture(scope="session")
def yolox(data: Path, coco_labels: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model bundle around the real YOLOX-nano, in ONNX."""
    folder = tmp_path_factory.mktemp("models") / "yolox_nano"
    folder.mkdir()
    shutil.copyfile(data / "models/yolox_nano/yolox_nano.onnx", folder / "yolox_nano.onnx")
    (folder / "model.yaml").write_text(yaml.safe_dump(yolox_bundle(coco_labels), sort_keys=False))
    return folder


@pytest.fixture(scope="session")
def golden_yolox(data: Path, yolox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YOLOX-nano in ONNX and OpenVINO's format, with golden data of the 13 labeled pictures. Copy it to change it."""
    folder = tmp_path_factory.mktemp("golden") / "yolox_nano"
    shutil.copytree(yolox, folder)
    for name in ("yolox_nano_fp32.xml", "yolox_nano_fp32.bin"):
        shutil.copyfile(data / "models/yolox_nano" / name, folder / name)
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["files"].append({"path": "yolox_nano_fp32.xml", "format": "openvino"})
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    pictures = data / "images/coco_det_ccby"
    command = [sys.executable, "-m", "edge_vision", "models", "golden", folder, "--images", pictures]
    command += ["--labels", pictures / "annotations.json", "--most", "13"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Verdicts and engines are kept where no earlier run left any."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test alone: nothing is remembered in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def proven(data: Path, yolox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YOLOX-nano in ONNX with a license and unverified golden data of 13 pictures. Copy it to change it."""
    from proven import make_proven

    folder = tmp_path_factory.mktemp("proven") / "yolox_nano"
    make_proven(folder, yolox, data / "images/coco_det_ccby")
    (folder / "LICENSE").write_text("Apache-2.0")
    return folder


def yolox_bundle(labels: list[str]) -> dict[str, Any]:
    """What model.yaml says of YOLOX-nano."""
    return {
        "version": 1,
        "name": "yolox_nano",
        "task": "detection",
        "files": [{"path": "yolox_nano.onnx", "format": "onnx"}],
        "input": {"size": [416, 416], "color": "bgr", "resize": "letterbox", "anchor": "top_left", "pad_value": 114},
        "output": {"format": "yolox", "strides": [8, 16, 32]},
        "labels": labels,
        "thresholds": {"confidence": 0.3, "iou": 0.45},
    }


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    return find_free_port()


def find_free_port() -> int:
    """The same, as a function."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def write_site(tmp_path: Path) -> Callable[..., Path]:
    """Writes a site file into the test's folder, from cameras=[...] and publish=[...]."""

    def write(**content: Any) -> Path:
        file = tmp_path / "site.yaml"
        file.write_text(yaml.safe_dump({"version": 1, "site": "test", **content}, sort_keys=False))
        return file

    return write


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that are killed, with all their children, when the test ends."""
    running: list[subprocess.Popen[str]] = []

    def run(*command: str | Path, **options: Any) -> "subprocess.Popen[str]":
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen([str(word) for word in command], start_new_session=True, **settings)
        running.append(process)
        return process

    yield run
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def edge_vision(start: Start) -> Start:
    """Starts the real command, such as "run", site."""

    def run(*arguments: str | Path, **options: Any) -> "subprocess.Popen[str]":
        return start(sys.executable, "-m", "edge_vision", *arguments, **options)

    return run


def wait_until(true: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for something to become true; fails the test when it does not in time."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command that runs inside a test sets up the log; the next test finds it as it was."""
    log = logging.getLogger("edge_vision")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


@pytest.fixture(autouse=True)
def _no_thread_left_alive() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 30.0
    left = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread for thread in left if not isinstance(thread, GarbageCollectorThread)]  # pyzmq's, one per process
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = [thread for thread in left if thread.is_alive()]
    assert not left, f"threads left alive: {[thread.name for thread in left]}"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto on a port of its own."""
    server = Broker(find_free_port(), tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()
