"""A server keeps the contract of an engine, and whatever it does wrong is an InferenceError in time."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oip_server import Arrays, OipServer, serving, serving_grpc

from edge_vision.core.errors import BackendUnavailableError, ConfigError, InferenceError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.options import Secret
from edge_vision.inference.remote.options import RemoteOptions
from edge_vision.inference.remote.server import RemoteModel
from edge_vision.testing.contracts import check_engine

SHAPE = (1, 3, 8, 8)
FILE = ModelFile(Path("model.onnx"), "onnx", SHAPE)


def _halved(arrays: Arrays) -> Arrays:
    return {"out": arrays["in"] / 2}


SERVING = {"http": serving, "grpc": serving_grpc}


def _halving() -> OipServer:
    return OipServer(_halved, [("in", "FP32", [-1, 3, 8, 8])], [("out", "FP32", [-1, 3, 8, 8])])


@pytest.fixture(name="server", params=SERVING)
def _server(request: pytest.FixtureRequest) -> Iterator[OipServer]:
    """A server that halves its input, over HTTP and over gRPC."""
    with SERVING[request.param](_halving()) as server:
        yield server


@pytest.fixture(name="http_server")
def _http_server() -> Iterator[OipServer]:
    """One that is spoken to over HTTP."""
    with serving(_halving()) as server:
        yield server


def _model(server: OipServer, **options: Any) -> RemoteModel:
    settings: dict[str, Any] = {"timeout_s": 1.0, **options}
    return RemoteModel(server.url, "m", RemoteOptions(urls=(server.url,), **settings))


def _picture() -> Arrays:
    return {"in": np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)}


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_sessions_of_a_server_answer_like_those_of_a_runtime(server: OipServer, binary: bool) -> None:
    """One by one and side by side, by raw bytes or by numbers, the answer is that of the model to the last bit."""
    server.binary = binary
    engine = _model(server).load(FILE)
    assert engine.device == f"oip 0.1 at 127.0.0.1:{server.port}"
    assert str(engine.inputs[0]) == "in [-1, 3, 8, 8] float32"
    picture = _picture()
    found = check_engine(engine, picture, threads=3)
    assert np.array_equal(found["out"], picture["in"] / 2)


def test_a_session_keeps_its_connection(http_server: OipServer) -> None:
    """Ten inferences, one connection."""
    engine = _model(http_server).load(FILE)
    before = http_server.connections
    with engine.open_session() as session:
        for _ in range(10):
            session.infer(_picture())
    assert http_server.connections == before + 1


def test_a_server_that_says_goodbye_after_each_answer_is_connected_to_again(http_server: OipServer) -> None:
    """Connection: close in a complete answer is no failure."""
    engine = _model(http_server).load(FILE)
    http_server.fault = "close"
    with engine.open_session() as session:
        for _ in range(3):
            assert session.infer(_picture())["out"].shape == SHAPE


FAULTS = {
    "500": "(status 500|INTERNAL): out of memory",
    "wrong shape": r"out came as \[1, 3, 8, 7\]",
    "wrong type": "out came as .* float64",
    "other output": "output out is missing",
    "other id": "answers request somebody else's",
    "other version": "version 2 of the model answered, not 1",
    "short tensor": "needs 768 bytes, 764 came",
}
HTTP_FAULTS = {
    "reset": "[Cc]onnection",
    "truncated": "bytes early",
    "drip": r"no answer within 1 s",
    "long head": "999999999 of",
    "huge": "longer than the limit",
}


@pytest.mark.parametrize("fault, words", FAULTS.items(), ids=list(FAULTS))
def test_whatever_is_wrong_with_an_answer_is_an_error(server: OipServer, fault: str, words: str) -> None:
    """It names the server and what was wrong; and a server with that fault is not loaded."""
    _check_fault(server, fault, words)


@pytest.mark.parametrize("fault, words", HTTP_FAULTS.items(), ids=list(HTTP_FAULTS))
def test_whatever_is_wrong_with_the_transport_is_an_error_in_time(
    http_server: OipServer, fault: str, words: str
) -> None:
    """Also when bytes keep coming, or far too many are announced."""
    _check_fault(http_server, fault, words)


def _check_fault(server: OipServer, fault: str, words: str) -> None:
    model = _model(server)
    engine = model.load(FILE)
    with engine.open_session() as session:
        session.infer(_picture())
        server.fault = fault
        started = time.monotonic()
        with pytest.raises(InferenceError, match=words) as caught:
            session.infer(_picture())
        assert time.monotonic() - started < 10
        assert f"127.0.0.1:{server.port}" in str(caught.value)
    if fault not in {"other version", "drip"}:  # a first answer may take long, and its version is the one that counts
        with pytest.raises(BackendUnavailableError, match=words):
            model.load(FILE)


def test_a_slow_server_runs_out_of_time(server: OipServer) -> None:
    """A frame waits no longer than `timeout_s`; and the late answer never becomes that of the next frame."""
    engine = _model(server).load(FILE)
    with engine.open_session() as session:
        session.infer(_picture())  # connected: only the answer is waited for
        server.delay_s = 2.0
        started = time.monotonic()
        with pytest.raises(InferenceError, match=r"no answer within 1 s"):
            session.infer(_picture())
        assert 0.9 < time.monotonic() - started < 10
        server.delay_s = 0.0
        with pytest.raises(InferenceError, match=r"no answer within 1 s"):
            session.infer(_picture())


def test_a_connection_that_broke_is_not_made_again(http_server: OipServer) -> None:
    """Whoever answers at that address now may serve another model: a new session is for the one who proves it."""
    engine = _model(http_server).load(FILE)
    with engine.open_session() as session:
        session.infer(_picture())
        http_server.drop_connections()
        asked = http_server.requests
        for _ in range(2):
            with pytest.raises(InferenceError, match=f":{http_server.port}: "):
                session.infer(_picture())
        assert http_server.requests == asked


def test_a_channel_that_broke_is_not_made_again(free_port: int) -> None:
    """GRPC would connect to the next server at that address by itself; no frame goes to a server not proven."""
    first, second = _halving(), _halving()
    with ExitStack() as resources:
        with serving_grpc(first, free_port):
            engine = _model(first).load(FILE)
            session = resources.enter_context(engine.open_session())
            session.infer(_picture())
        with serving_grpc(second, free_port):
            time.sleep(0.5)  # Triton takes seconds to come back
            for _ in range(2):
                with pytest.raises(InferenceError, match="the connection broke off"):
                    session.infer(_picture())
            assert second.requests == 0


@pytest.mark.parametrize(
    "fault, words",
    [
        ("not ready", "(health/ready: status 503|the server is not ready)"),
        ("html", "not of the protocol"),
        ("absent", "unknown model"),
    ],
)
def test_a_server_that_is_not_ready_is_unavailable(server: OipServer, fault: str, words: str) -> None:
    """It is up and does not have the model, or does not speak the protocol."""
    server.fault = fault
    if fault == "absent":
        server.model = "another"
    with pytest.raises(BackendUnavailableError, match=words):
        _model(server).load(FILE)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_at_the_address_is_unavailable(scheme: str, free_port: int) -> None:
    """Refused at once, with the reason."""
    url = f"{scheme}://127.0.0.1:{free_port}"
    with pytest.raises(BackendUnavailableError, match=f"{url}: .*Connection refused"):
        RemoteModel(url, "m", RemoteOptions(urls=(url,))).load(FILE)


def test_without_the_library_a_server_for_grpc_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    url = "grpc://127.0.0.1:9"
    with pytest.raises(BackendUnavailableError, match=r"edge-vision\[remote\]"):
        RemoteModel(url, "m", RemoteOptions(urls=(url,))).load(FILE)


def test_numbers_in_typed_fields_are_read_too() -> None:
    """A server for gRPC may answer without raw bytes."""
    server = _halving()
    server.binary = False
    with serving_grpc(server):
        picture = _picture()
        assert np.array_equal(check_engine(_model(server).load(FILE), picture)["out"], picture["in"] / 2)


def test_a_model_that_takes_something_else_is_a_model_error(server: OipServer) -> None:
    """Its size is not the bundle's: it would not see what the cameras see."""
    server.inputs = [("in", "FP32", [1, 3, 16, 16])]
    with pytest.raises(ModelError, match=r"\[1, 3, 16, 16\].*\[1, 3, 8, 8\]"):
        _model(server).load(FILE)


def test_a_server_that_does_not_describe_its_model_is_unavailable(server: OipServer) -> None:
    """Empty metadata: nothing can be checked."""
    server.inputs = []
    with pytest.raises(BackendUnavailableError, match="does not say what model m takes"):
        _model(server).load(FILE)


def test_the_token_goes_with_every_request(server: OipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without it, or with a wrong one, the server's own words are told."""
    server.token = "open sesame"
    monkeypatch.setenv("OIP_TOKEN", "open sesame")
    engine = _model(server, token=Secret(env="OIP_TOKEN")).load(FILE)
    with engine.open_session() as session:
        session.infer(_picture())
    with pytest.raises(BackendUnavailableError, match="401: who are you"):
        _model(server).load(FILE)


def test_a_token_that_cannot_be_had_is_a_config_error(http_server: OipServer) -> None:
    """It names the server and the reference."""
    with pytest.raises(ConfigError, match=f"{http_server.url}: token: .*NOT_SET_ANYWHERE is not set"):
        _model(http_server, token=Secret(env="NOT_SET_ANYWHERE")).load(FILE)


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "server.pem", folder / "server.key"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=oip "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    return certificate, key


@pytest.mark.parametrize("scheme", SERVING)
def test_tls_with_the_right_authority_and_no_other(scheme: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """A certificate that `ca_file` vouches for is trusted; without it, it is not; nor is a file without any."""
    with SERVING[scheme](_halving(), tls=certificate) as server:
        url = f"{scheme}s://127.0.0.1:{server.port}"
        options = RemoteOptions(urls=(url,), ca_file=certificate[0])
        check_engine(RemoteModel(url, "m", options).load(FILE), _picture())
        with pytest.raises(BackendUnavailableError, match=r"(not to be trusted|CERTIFICATE_VERIFY_FAILED)"):
            RemoteModel(url, "m", RemoteOptions(urls=(url,))).load(FILE)
        for content in (None, "no certificate"):
            file = tmp_path / "ca.pem"
            if content is not None:
                file.write_text(content)
            with pytest.raises(ConfigError, match=r"ca\.pem: no certificates can be read"):
                RemoteModel(url, "m", RemoteOptions(urls=(url,), ca_file=file)).load(FILE)


def test_json_numbers_keep_every_bit() -> None:
    """What json writes of a float32 reads back as the same float32."""
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    assert np.array_equal(np.array(json.loads(json.dumps(values.tolist())), np.float32), values)
