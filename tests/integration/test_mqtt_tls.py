"""The MQTT sink and TLS, without a daemon around it: what cannot be read, who does not speak TLS, and secrets."""

import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair, issue, make_authority
from mqtt_server import Dialog, scripted_broker
from servers import Broker

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.sink import open_mqtt
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock

CANARY = "canary-51c0-never-in-an-error"


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Pair:
    return make_authority(tmp_path, "ca")


def _error(port: int, **given: Any) -> SinkError:
    """What opening a sink fails with."""
    wire = Wire("test", "boot", SystemClock())
    opening = SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))
    standard = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 0.5}
    with (
        pytest.raises(SinkError) as caught,
        open_mqtt(MqttOptions.model_validate({**standard, **given}), opening),
    ):
        pytest.fail("it was opened")
    assert str(caught.value).startswith(f"127.0.0.1:{port}: ")
    return caught.value


def _chain(error: BaseException | None) -> str:
    """An error and all that lie behind it, with whatever they hold."""
    return "" if error is None else f"{error!r} {vars(error)}" + _chain(error.__cause__) + _chain(error.__context__)


def test_no_error_holds_a_secret(authority: Pair, tmp_path: Path) -> None:
    """Not in its text, not behind it: a wrong password of a key, one with control characters, one too long."""
    locked = issue(authority, "locked", password="right")
    secret = tmp_path / "secret"
    pair = {"certificate": str(locked.certificate), "key": str(locked.key), "key_password": {"file": str(secret)}}
    for content in (CANARY, f"{CANARY}\0", CANARY * 60):
        secret.write_text(content)
        for given in ({"tls": pair}, {"username": "edge", "password": {"file": str(secret)}}):
            error = _error(1, **given)
            assert CANARY not in _chain(error)
            assert ("longer than 1023 characters, or with control" in str(error)) == (content != CANARY)


@pytest.mark.parametrize(
    "tls,words",
    [
        ({"ca_file": "absent.pem"}, "absent.pem: no certificates can be read: No such file or directory"),
        ({"ca_file": "secret"}, "secret: no certificates can be read: no certificate or crl found"),
        ({"ca_file": "."}, "no certificates can be read"),
        ({"certificate": "absent.pem"}, "absent.pem: no certificate and key can be read: No such file or directory"),
        ({"certificate": "edge.pem"}, "edge.pem: no certificate and key can be read"),
        (
            {"certificate": "edge.pem", "key": "ca.key"},
            "can be read: key values mismatch",
        ),
        ({"certificate": "edge.pem", "key": "secret"}, "no certificate and key can be read"),
    ],
)
def test_certificates_that_cannot_be_read(
    tls: dict[str, str], words: str, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names the file and why; nobody is connected to."""
    issue(authority, "edge")
    (tmp_path / "secret").write_text("no certificate")
    monkeypatch.chdir(tmp_path)
    error = _error(1, tls=tls)
    assert words in str(error)
    assert error.patience_s == 60.0


def test_a_locked_key_without_a_password_asks_nobody(authority: Pair) -> None:
    """OpenSSL would ask at the terminal, for ever; here it is an error at once, also with a terminal there."""
    locked = issue(authority, "locked", password="right")
    script = (
        "import sys; sys.path[:0] = ['tests']\n"
        "from test_mqtt_tls import _error\n"
        f"print(_error(1, tls={{'certificate': {str(locked.certificate)!r}, 'key': {str(locked.key)!r}}}))\n"
    )
    ours, theirs = os.openpty()
    here = Path(__file__).parent
    path = os.pathsep.join((str(here), str(here.parent), os.environ.get("PYTHONPATH", "")))
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "encrypted with another password" in done.stdout


@pytest.mark.parametrize(
    "said,tls,words",
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", None, "the broker speaks TLS on this port: set tls, or another port"),
        (b"", None, "ended the connection without an answer: does it speak TLS on this port?"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "what answers there does not speak TLS: check port and tls"),
        (b"", {}, "ended the connection in the TLS handshake: does it speak TLS on this port"),
        (b"\x20\x02\x00\x01", None, "refused the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, "cannot connect: what answers there is not MQTT of this version"),
    ],
)
def test_what_answers_is_no_such_broker(said: bytes, tls: dict[str, Any] | None, words: str) -> None:
    """TLS where none is expected, none where it is, another server altogether: said, and left alone for a while."""

    def script(dialog: Dialog) -> None:
        dialog.sock.recv(4096)
        dialog.say(said)

    with scripted_broker(script) as (port, _):
        error = _error(port, tls=tls)
    assert words in str(error)
    assert error.patience_s >= 15.0


def test_a_certificate_with_another_name_than_the_host(authority: Pair, free_port: int, tmp_path: Path) -> None:
    """`server_name` says which name is right; it is verified like any other."""
    server = issue(authority, "server", names="DNS:broker.plant.example")
    files = f"cafile {authority.certificate}\ncertfile {server.certificate}\nkeyfile {server.key}\n"
    broker = Broker(free_port, tmp_path, f"allow_anonymous true\n{files}")
    tls = {"ca_file": str(authority.certificate)}
    wire = Wire("test", "boot", SystemClock())
    opening = SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))
    try:
        broker.start()
        given = {"kind": "mqtt", "host": "127.0.0.1", "port": free_port}
        options = MqttOptions.model_validate({**given, "tls": {**tls, "server_name": "broker.plant.example"}})
        with open_mqtt(options, opening) as sink:
            sink.send([opening.status()])
        for more in ({}, {"server_name": "other.plant.example"}):
            assert "mismatch" in str(_error(free_port, tls={**tls, **more}))
    finally:
        broker.kill()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_oldest_version_of_tls_is_chosen(version: str, authority: Pair) -> None:
    """A broker that speaks TLS 1.2 only is taken, or not, as the site says."""
    server = issue(authority, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    spoken: list[str | None] = []

    def script(dialog: Dialog) -> None:
        with context.wrap_socket(dialog.sock, server_side=True) as sock:
            spoken.append(sock.version())

    with scripted_broker(script) as (port, _):
        error = _error(port, tls={"ca_file": str(authority.certificate), "minimum_version": version})
    assert spoken == (["TLSv1.2"] if version == "1.2" else [])
    assert ("it does not speak this version of TLS: see tls.minimum_version" in str(error)) == (version == "1.3")


@pytest.mark.parametrize("tls", [None, {}])
def test_somebody_who_listens_and_says_nothing(tls: dict[str, Any] | None) -> None:
    """Given up in time; an error like that of a broker that is away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        error = _error(int(server.getsockname()[1]), tls=tls)
    assert time.monotonic() - started < 30
    assert "within 0.5 s" in str(error)
    assert error.patience_s == 0.0
