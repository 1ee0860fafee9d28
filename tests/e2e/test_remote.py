"""A site whose model runs on servers: who answers, what happens when they go, and what must be shown on return."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from conftest import Start, find_free_port, wait_until
from listeners import zeromq_listener
from oip_server import Arrays, OipServer, serving
from remote_site import STATUS, Run, answers_of, check_all

CLIP = "worker-zone_h264.mp4"


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


@pytest.fixture(name="run")
def _run(data: Path, golden_yolox: Path, edge_vision: Start, write_site: Callable[..., Path]) -> Iterator[Any]:
    """Runs the clip, for ever and at its own speed, with the servers given."""
    with ExitStack() as resources:

        def start(urls: list[str], timeout_s: float = 5.0, **more: Any) -> Run:
            port = find_free_port()
            settings = {"model": str(golden_yolox), "backends": ["onnxruntime"], "confidence": 0.3, **more}
            settings["remote"] = {"urls": urls, "timeout_s": timeout_s, "retry_s": 0.5}
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
    source = {"kind": "file", "path": str(data / "video" / CLIP)}
    answers = [one["objects"] for one in answers_of(source, golden_yolox, tmp_path_factory.mktemp("truth"))]
    assert sum(map(len, answers)) > 50  # there is something to be wrong about
    return answers


def test_a_server_that_dies_is_stood_in_for_and_comes_back(
    make_server: Callable[[], OipServer], run: Callable[..., Run], truth: list[list[dict[str, Any]]], free_port: int
) -> None:
    """Every frame is answered as by this machine alone; each message and the status say by whom."""
    with serving(make_server(), free_port) as first:
        site = run([first.url])
        site.wait_for_backend("remote")
        assert site.states() == ["online"]
    site.wait_for_backend("onnxruntime")
    wait_until(lambda: site.states() == ["lost"], 60, "the status says so")
    assert site.heard.last(STATUS)["state"] == "degraded"
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        wait_until(lambda: site.states() == ["online"], 60, "the status says so")
        site.end()
    answers, told = site.answers(), site.remote()
    check_all(answers, truth)
    devices = {(one["model"]["backend"], one["model"]["device"]) for one in answers}
    assert devices == {("remote", f"oip 0.1 at 127.0.0.1:{free_port}"), ("onnxruntime", "CPU")}
    assert told["servers"][0]["lost"] == 1
    assert told["fallback"]["seconds"] > 0.4
    here = sum(one["model"]["backend"] == "onnxruntime" for one in answers)
    assert here > 0
    assert site.heard.last(STATUS)["cameras"][0]["frames"]["failed"] == 0
    assert told["fallback"]["frames"] == here


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
        wait_until(lambda: site.states() == ["refused"], 60, "the status says that it is refused")
        site.wait_for_backend("onnxruntime", 30)
        told = site.remote()
        site.end()
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
        wait_until(lambda: site.states() == ["lost", "online"], 60, "the first is lost")
        site.wait_for_backend("remote")
        site.end()
    answers = site.answers()
    check_all(answers, truth)
    ports = [int(one["model"]["device"].rpartition(":")[2]) for one in answers]
    assert (ports[0], ports[-1]) == (first.port, second.port)
    assert site.remote()["fallback"]["frames"] == 0


def test_a_server_that_falls_silent_holds_up_one_frame(
    make_server: Callable[[], OipServer], run: Callable[..., Run], truth: list[list[dict[str, Any]]]
) -> None:
    """It keeps its connections and says nothing: after `timeout_s` this machine answers, that frame and the next."""
    with serving(make_server()) as server:
        site = run([server.url], timeout_s=1.0)
        site.wait_for_backend("remote")
        server.delay_s = 2.5
        site.wait_for_backend("onnxruntime")
        server.delay_s = 0.0
        site.wait_for_backend("remote")
        site.end()
    answers = site.answers()
    check_all(answers, truth)
    held_up = [one["model"]["backend"] for one in answers if one["latency_ms"]["inference"] >= 1000]
    assert set(held_up) == {"onnxruntime"}
    assert len(held_up) <= 3  # one, but on a machine that does much else
    assert "no answer within 1 s" in site.process.stderr.read()


def test_a_server_that_is_away_at_start_joins_later(
    make_server: Callable[[], OipServer], run: Callable[..., Run], free_port: int
) -> None:
    """The site starts on this machine, and moves to the server once it has shown that it sees."""
    site = run([f"http://127.0.0.1:{free_port}"])
    site.wait_for_backend("onnxruntime")
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        site.end()


def test_without_a_runtime_here_the_servers_serve_alone(
    make_server: Callable[[], OipServer], run: Callable[..., Run], free_port: int
) -> None:
    """bf16 is not to be had of ONNX Runtime here; while the server is away frames fail, and the status says why."""
    with serving(make_server(), free_port) as server:
        site = run([server.url], precision="bf16")  # a start without any server would be the end
        site.wait_for_backend("remote")
    wait_until(lambda: site.heard.last(STATUS)["cameras"][0]["state"] == "failing", 60, "the camera fails")
    told = site.heard.last(STATUS)
    assert "no server answers, and on this machine" in told["cameras"][0]["error"]
    assert (told["models"][0]["backend"], told["models"][0]["device"]) == ("none", "none")
    with serving(make_server(), free_port):
        site.wait_for_backend("remote")
        site.end(70)  # frames failed
    assert {one["model"]["backend"] for one in site.answers()} == {"remote"}


def test_with_nobody_at_all_the_process_ends_to_be_started_again(run: Callable[..., Run], free_port: int) -> None:
    """Exit code 70: the server may be there the next time; each reason is told, without a traceback."""
    site = run([f"http://127.0.0.1:{free_port}"], precision="bf16")
    _, errors = site.process.communicate(timeout=60)
    assert site.process.returncode == 70
    assert "bf16 is not to be had" in errors
    assert f"http://127.0.0.1:{free_port}: lost: " in errors
    assert "Traceback" not in errors
