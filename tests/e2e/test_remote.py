"""A site whose model runs on servers: who answers, what happens when they go, and what must be shown on return."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import Start, find_free_port, wait_until
from listeners import Heard, zeromq_listener
from oip_server import Arrays, OipServer, serving

CLIP = "worker-zone_h264.mp4"
DETECTIONS, STATUS = "edge-vision/v1/test/gate/detections", "edge-vision/v1/test/status"


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]], threshold: float = 0.3) -> bool:
    """Whether two answers to a frame are one: another build of a runtime may round another way, and no more."""
    left = list(expected)
    for one in found:
        twin = next((other for other in left if _alike(one, other)), None)
        if twin is not None:
            left.remove(twin)
        elif one["confidence"] > threshold + 0.002:
            return False
    return all(one["confidence"] <= threshold + 0.002 for one in left)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    near = np.abs(np.subtract(one["xyxy"], other["xyxy"])).max() <= 0.5
    return bool(one["class"] == other["class"] and abs(one["confidence"] - other["confidence"]) <= 0.002 and near)


@pytest.fixture(name="make_server")
def _make_server(golden_yolox: Path) -> Callable[[], OipServer]:
    """Makes servers that run the real YOLOX-nano behind the protocol."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(golden_yolox / "yolox_nano.onnx"), options)

    def answer(arrays: Arrays) -> Arrays:
        return {"output": session.run(["output"], {"images": arrays["images"]})[0]}

    def make() -> OipServer:
        server = OipServer(answer, [("images", "FP32", [-1, 3, 416, 416])], [("output", "FP32", [-1, 3549, 85])])
        server.model = "yolox_nano"
        return server

    return make


class Run:
    """A site at work, and what it says."""

    def __init__(self, heard: Heard, process: Any) -> None:
        self.heard = heard
        self.process = process

    def answers(self) -> list[dict[str, Any]]:
        """The messages so far."""
        return self.heard.on(DETECTIONS)

    def remote(self) -> dict[str, Any]:
        """What the newest status says of the servers, or nothing yet."""
        told = [status for status in self.heard.on(STATUS) if "models" in status]
        remote: dict[str, Any] = told[-1]["models"][0]["remote"] if told else {}
        return remote

    def states(self) -> list[str]:
        """The states of the servers."""
        return [server["state"] for server in self.remote().get("servers", ())]

    def wait_for_backend(self, name: str, frames: int = 10) -> None:
        """Wait until so many more frames were answered by a runtime."""
        done = len(self.answers())

        def enough() -> bool:
            assert self.process.poll() is None, self.process.stderr.read()
            return sum(one["model"]["backend"] == name for one in self.answers()[done:]) >= frames

        wait_until(enough, 20, f"{frames} frames by {name}")


@pytest.fixture(name="run")
def _run(data: Path, golden_yolox: Path, edge_vision: Start, write_site: Callable[..., Path]) -> Iterator[Any]:
    """Runs the clip, for ever and at its own speed, with the servers given."""
    with ExitStack() as resources:

        def start(urls: list[str], **more: Any) -> Run:
            port = find_free_port()
            settings = {"model": str(golden_yolox), "backends": ["onnxruntime"], "confidence": 0.3, **more}
            settings["remote"] = {"urls": urls, "timeout_s": 1.0, "retry_s": 0.5}
            source = {"kind": "file", "path": str(data / "video" / CLIP), "realtime": True, "loop": True}
            site = write_site(
                cameras=[{"id": "gate", "source": source, "pipeline": "object_detection", "with": settings}],
                publish=[{"kind": "zeromq", "bind": f"tcp://127.0.0.1:{port}"}],
            )
            heard = resources.enter_context(zeromq_listener(f"tcp://127.0.0.1:{port}"))
            return Run(heard, edge_vision("run", site))

        yield start


@pytest.fixture(name="truth", scope="module")
def _truth(data: Path, golden_yolox: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What this machine alone sees in every frame of the clip."""
    return local_answers(data / "video" / CLIP, golden_yolox, tmp_path_factory.mktemp("truth"))


def local_answers(clip: Path, bundle: Path, folder: Path) -> list[list[dict[str, Any]]]:
    """The objects of every frame, by this machine's ONNX Runtime alone."""
    import yaml

    from edge_vision.cli.command import run_command

    camera = {
        "id": "gate",
        "source": {"kind": "file", "path": str(clip)},
        "pipeline": "object_detection",
        "with": {"model": str(bundle), "backends": ["onnxruntime"], "confidence": 0.3},
    }
    lines = folder / "truth.jsonl"
    site = folder / "site.yaml"
    publish = [{"kind": "jsonl", "path": str(lines)}]
    site.write_text(yaml.safe_dump({"version": 1, "site": "test", "cameras": [camera], "publish": publish}))
    assert run_command(["run", str(site)]) == 0
    return [json.loads(line)["objects"] for line in lines.read_text().splitlines()]


def check_all(answers: list[dict[str, Any]], truth: list[list[dict[str, Any]]]) -> None:
    """No frame was answered wrongly, by whomever."""
    wrong = [
        (one["frame"]["index"], one["model"]["backend"], one["objects"], truth[one["frame"]["index"] % len(truth)])
        for one in answers
        if not same(one["objects"], truth[one["frame"]["index"] % len(truth)])
    ]
    assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[:3]}"


def test_a_server_that_dies_is_stood_in_for_and_comes_back(
    make_server: Callable[[], OipServer], run: Callable[..., Run], truth: list[list[dict[str, Any]]], free_port: int
) -> None:
    """Every frame is answered as by this machine alone; each message and the status say by whom."""
    with serving(make_server(), free_port) as first:
        site = run([first.url])
        site.wait_for_backend("remote")
        assert site.states() == ["online"]
    site.wait_for_backend("onnxruntime")
    wait_until(lambda: site.states() == ["lost"], 5, "the status says so")
    assert site.heard.on(STATUS)[-1]["state"] == "degraded"
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        wait_until(lambda: site.states() == ["online"], 5, "the status says so")
        site.process.terminate()
        assert site.process.wait(20) == 0
    answers, told = site.answers(), site.remote()
    check_all(answers, truth)
    devices = {(one["model"]["backend"], one["model"]["device"]) for one in answers}
    assert devices == {("remote", f"oip 0.1 at 127.0.0.1:{free_port}"), ("onnxruntime", "CPU")}
    assert told["servers"][0]["lost"] == 1
    assert 0.4 < told["fallback"]["seconds"] < 30
    here = sum(one["model"]["backend"] == "onnxruntime" for one in answers)
    assert here > 0
    assert site.heard.on(STATUS)[-1]["cameras"][0]["frames"]["failed"] == 0
    assert abs(told["fallback"]["frames"] - here) <= 30  # those that came after the status


def test_a_server_that_comes_back_with_another_model_answers_nothing(
    make_server: Callable[[], OipServer], run: Callable[..., Run], truth: list[list[dict[str, Any]]], free_port: int
) -> None:
    """It has the same name, shapes and types: only the golden pictures tell."""
    with serving(make_server(), free_port) as first:
        site = run([first.url])
        site.wait_for_backend("remote")
    other = make_server()
    right = other.answer

    def shifted(arrays: Arrays) -> Arrays:
        output = right(arrays)["output"].copy()
        output[..., 0] += 0.8
        return {"output": output}

    other.answer = shifted
    with serving(other, free_port):
        wait_until(lambda: site.states() == ["refused"], 20, "the status says that it is refused")
        site.wait_for_backend("onnxruntime", 30)
        told = site.remote()
        site.process.terminate()
        assert site.process.wait(20) == 0
    assert other.requests > 0
    assert "mean overlap" in told["servers"][0]["error"]
    check_all(site.answers(), truth)


def test_the_next_server_is_asked_before_this_machine(
    make_server: Callable[[], OipServer], run: Callable[..., Run], truth: list[list[dict[str, Any]]]
) -> None:
    """The frame that the first one failed is answered by the second, and never by this machine."""
    with serving(make_server()) as second, serving(make_server()) as first:
        site = run([first.url, second.url])
        site.wait_for_backend("remote")
        assert second.requests < 20  # the proof, and nothing else
        first.fault = "500"
        wait_until(lambda: site.states() == ["lost", "online"], 10, "the first is lost")
        site.wait_for_backend("remote")
        site.process.terminate()
        assert site.process.wait(20) == 0
    answers = site.answers()
    check_all(answers, truth)
    ports = [int(one["model"]["device"].rpartition(":")[2]) for one in answers]
    assert (ports[0], ports[-1]) == (first.port, second.port)
    assert site.remote()["fallback"]["frames"] == 0


def test_a_server_that_is_away_at_start_joins_later(
    make_server: Callable[[], OipServer], run: Callable[..., Run], free_port: int
) -> None:
    """The site starts on this machine, and moves to the server once it has shown that it sees."""
    site = run([f"http://127.0.0.1:{free_port}"])
    site.wait_for_backend("onnxruntime")
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        site.process.terminate()
        assert site.process.wait(20) == 0


def test_without_a_runtime_here_the_servers_serve_alone(
    make_server: Callable[[], OipServer], run: Callable[..., Run], free_port: int
) -> None:
    """bf16 is not to be had of ONNX Runtime here; while the server is away frames fail, and the status says why."""
    with serving(make_server(), free_port) as server:
        site = run([server.url], precision="bf16")
        site.wait_for_backend("remote")
    wait_until(lambda: site.heard.on(STATUS)[-1]["cameras"][0]["state"] == "failing", 10, "the camera fails")
    told = site.heard.on(STATUS)[-1]
    assert "no server answers, and on this machine" in told["cameras"][0]["error"]
    assert (told["models"][0]["backend"], told["models"][0]["device"]) == ("none", "none")
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        site.process.terminate()
        assert site.process.wait(20) == 70  # frames failed
    assert {one["model"]["backend"] for one in site.answers()} == {"remote"}


def test_with_nobody_at_all_the_process_ends_to_be_started_again(run: Callable[..., Run], free_port: int) -> None:
    """Exit code 70: the server may be there the next time; each reason is told, without a traceback."""
    site = run([f"http://127.0.0.1:{free_port}"], precision="bf16")
    _, errors = site.process.communicate(timeout=30)
    assert site.process.returncode == 70
    assert "bf16 is not to be had" in errors
    assert f"http://127.0.0.1:{free_port}: lost: " in errors
    assert "Traceback" not in errors
