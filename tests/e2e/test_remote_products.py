"""Real servers of the Open Inference Protocol: Triton, killed under load and brought back; KServe."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, find_free_port, wait_until
from listeners import zeromq_listener
from model_servers import Kserve, ModelServer, Triton
from remote_site import STATUS, Run, answers_of, check_all

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

CLIP = "bottle-detection.mp4"


@pytest.fixture(name="server", scope="module")
def _make(golden_yolox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ModelServer]]:
    """Makes servers of YOLOX-nano; EDGE_VISION_SERVER_VENVS is a folder where their environments may stay."""
    keep = os.environ.get("EDGE_VISION_SERVER_VENVS")
    folder = Path(keep) if keep else tmp_path_factory.mktemp("venvs")
    running: list[ModelServer] = []

    def make(kind: type[ModelServer]) -> ModelServer:
        ports = find_free_port(), find_free_port()
        server = kind(ports, folder / kind.__name__.lower(), golden_yolox / "yolox_nano.onnx", "yolox_nano")
        server.install()
        running.append(server)
        return server

    yield make
    for server in running:
        server.kill()


@pytest.fixture(name="truth", scope="module")
def _truth(data: Path, golden_yolox: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What this machine alone sees in every frame of the clip."""
    source = {"kind": "file", "path": str(data / "video" / CLIP)}
    answers = [one["objects"] for one in answers_of(source, golden_yolox, tmp_path_factory.mktemp("truth"))]
    assert sum(map(len, answers)) > 500  # there is something to be wrong about
    return answers


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_triton_killed_under_load_and_brought_back(
    scheme: str,
    data: Path,
    golden_yolox: Path,
    truth: list[list[dict[str, Any]]],
    server: Callable[..., ModelServer],
    edge_vision: Start,
    write_site: Callable[..., Path],
    free_port: int,
) -> None:
    """Two cameras at 30 fps; killed twice with all its processes: no frame fails or is answered wrongly."""
    triton = server(Triton)
    triton.start()
    url = f"http://127.0.0.1:{triton.port}" if scheme == "http" else f"grpc://127.0.0.1:{triton.grpc_port}"
    settings = {
        "model": str(golden_yolox),
        "backends": ["onnxruntime"],
        "confidence": 0.3,
        "remote": {"urls": [url], "timeout_s": 1.0, "retry_s": 1.0},
    }
    source = {"kind": "file", "path": str(data / "video" / CLIP), "realtime": True, "loop": True}
    site_file = write_site(
        cameras=[
            {"id": name, "source": source, "pipeline": "object_detection", "with": settings}
            for name in ("gate", "yard")
        ],
        publish=[{"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}"}],
    )
    with zeromq_listener(f"tcp://127.0.0.1:{free_port}") as heard:
        site = Run(heard, edge_vision("run", site_file))
        site.wait_for_backend("remote", 90)
        for _ in range(2):
            triton.kill()
            site.wait_for_backend("onnxruntime", 90)
            wait_until(lambda: site.states() == ["lost"], 60, "the status says so")
            triton.start()
            site.wait_for_backend("remote", 90)
        wait_until(lambda: site.states() == ["online"], 60, "the status says so")
        site.end()
    told, last, here = site.remote(), heard.last(STATUS), 0
    for camera in ("gate", "yard"):
        answers = heard.on(f"edge-vision/v1/test/{camera}/detections")
        check_all(answers, truth)
        by = Counter(f"{one['model']['backend']} on {one['model']['device']}" for one in answers)
        here += sum(one["model"]["backend"] == "onnxruntime" for one in answers)
        slowest = {
            name: max(one["latency_ms"]["inference"] for one in answers if one["model"]["backend"] == name)
            for name in ("remote", "onnxruntime")
        }
        print(f"\n{scheme} {camera}: {len(answers)} frames, none wrong: {dict(by)}; slowest inference, ms: {slowest}")
    print(f"status: {told}")
    assert [camera["frames"]["failed"] for camera in last["cameras"]] == [0, 0]
    assert told["servers"][0]["lost"] == 2
    assert told["fallback"]["frames"] == here > 100
    assert 2 < told["fallback"]["seconds"] < 120


@pytest.mark.parametrize("kind", [Triton, Kserve])
def test_a_real_server_passes_the_gate(
    kind: type[ModelServer],
    server: Callable[..., ModelServer],
    golden_yolox: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    """Over HTTP and over gRPC: what it sees in 13 pictures is what the reference sees, and it answers each."""
    one = server(kind)
    one.start()
    source = {"kind": "images", "path": str(data / "images/coco_det_ccby")}
    truth = [message["objects"] for message in answers_of(source, golden_yolox, tmp_path)]
    for url in (f"http://127.0.0.1:{one.port}", f"grpc://127.0.0.1:{one.grpc_port}"):
        answers = answers_of(source, golden_yolox, tmp_path, remote={"urls": [url]})
        assert [message["frame"]["index"] for message in answers] == list(range(13))
        assert {message["model"]["backend"] for message in answers} == {"remote"}
        check_all(answers, truth)
        spent = sorted(message["latency_ms"]["inference"] for message in answers)
        print(f"\n{url}: {answers[0]['model']['device']}: median {spent[6]:.1f} ms per inference")
