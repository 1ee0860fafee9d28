"""`edge-vision audit` beside a real broker: sessions, restarts, logins, signals."""

import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from audited import gap, message
from auditing import listening, publisher, report_of
from conftest import Start, wait_until
from file_server import certificate
from paho.mqtt.enums import CallbackAPIVersion
from servers import Broker, absent

from edge_vision.cli.audit import PASSWORD
from edge_vision.cli.command import run_command
from edge_vision.core.errors import ConfigError
from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.over_mqtt import Broker as Origin
from edge_vision.publish.audit.over_mqtt import MqttListener
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker


def test_a_broker_that_loses_some_is_found_out(edge_vision: Start, broker: Broker) -> None:
    """What was lost, told, doubled, moved, retained or foreign between a site and its consumer, over MQTT."""
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{broker.port}", "--idle", "2", "--seconds", "60", "--json")
    with publisher(broker.port) as publish:
        listening(audit)
        publish(*[message(seq) for seq in range(1, 101) if seq not in {20, 21, 50}])
        publish(message(7), message(9, frame=None), message(103), message(102))
        publish(gap(1, "count", 20, 20), b"nonsense", message(1, schema="edge-vision/7"))
        publish(b'{"value": false}', topic="edge-vision/v1/test/line/set/enabled")
        publish(message(5, "status", "", state="online"), topic="edge-vision/v1/test/status", retain=True)
    report = report_of(audit)
    assert audit.returncode == 1
    (stream,) = (one for one in report["streams"] if one["kind"] == "count")
    assert stream["missing"] == {"count": 3, "ranges": [[21, 21], [50, 50], [101, 101]]}
    assert stream["told"] == {"count": 1, "ranges": [[20, 20]]}
    assert stream["duplicates"] == {"same": 1, "different": 1, "uncompared": 0}
    assert (stream["out_of_order"], report["retained"], report["commands"]) == (1, 0, 1)
    assert (report["malformed"], report["unknown_schemas"]) == ({"is not JSON": 1}, {"edge-vision/7": 1})
    again = edge_vision("audit", "--mqtt", f"127.0.0.1:{broker.port}", "--wait", "1", "--json")
    report = report_of(again)
    assert (again.returncode, report["retained"], report["received"]) == (3, 1, 0)


@pytest.mark.parametrize("protocol", ["5", pytest.param("3.1.1", marks=pytest.mark.full)])
def test_an_audit_that_is_killed_goes_on_without_a_loss(
    protocol: str, edge_vision: Start, tmp_path: Path, broker: Broker
) -> None:
    """Kill -9 amid a stream, twice: what came meanwhile waits at the broker, what was acknowledged is in the file."""
    state = tmp_path / "audit.json"
    command = ["audit", "--mqtt", f"127.0.0.1:{broker.port}", "--client-id", "auditor", "--state", str(state)]
    command += ["--protocol", protocol, "--from-start"]
    killed, over, told = threading.Event(), threading.Event(), threading.Event()

    def send() -> None:
        with publisher(broker.port) as publish:
            for start in range(1, 3001, 50):
                publish(*[message(seq) for seq in range(start, start + 50)])
                if start > 1000:
                    killed.wait(60)
                if start > 2900:
                    over.wait(60)  # the last audit hears something, too
        told.set()

    thread = threading.Thread(target=send)
    journal = state.with_name("audit.json.journal")
    try:
        for turn in range(2):
            audit = edge_vision(*command)
            listening(audit)
            if not turn:
                thread.start()
            wait_until(lambda: journal.stat().st_size > 20_000, 60, "messages come")
            audit.kill()
            audit.wait(60)
            killed.set()
    finally:
        over.set()
        thread.join(60)
    assert told.is_set()
    audit = edge_vision(*command, "--idle", "2", "--json")
    report = report_of(audit)
    assert audit.returncode == 0, report
    assert (report["missing"], report["sessions_lost"]) == (0, 0)
    (stream,) = report["streams"]
    assert (stream["received"], stream["last"]) == (3000, 3000)
    third = edge_vision(*command, "--wait", "0.5", "--json")
    report = report_of(third)
    assert (third.returncode, report["received"]) == (0, 3000 + sum(report["duplicates"].values()))


def test_a_broker_that_restarts_is_found_again(edge_vision: Start, tmp_path: Path, free_port: int) -> None:
    """An audit that starts before its broker, loses it, and says that the broker forgot its session."""
    broker = Broker(free_port, tmp_path)
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{free_port}", "--idle", "12", "--wait", "50", "--json")
    assert audit.stderr is not None
    assert "cannot connect: Connection refused; trying again" in audit.stderr.readline()
    try:
        broker.start()
        listening(audit)
        with publisher(free_port) as publish:
            publish(*[message(seq) for seq in range(1, 11)])
        wait_until(lambda: broker.acknowledged == 10, 60, "the audit has them all")
        broker.kill()
        assert "connection lost" in audit.stderr.readline()
        broker.start()
        listening(audit)
        with publisher(free_port) as publish:
            publish(message(12))
        report = report_of(audit)
    finally:
        broker.kill()
    assert (audit.returncode, report["received"], report["missing"], report["sessions_lost"]) == (1, 11, 1, 1)


def test_over_tls_with_a_login(
    edge_vision: Start, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of both sides and a password; what is wrong with them is said, and the password never is."""
    pem = certificate(tmp_path)
    password, login = "hunter-" + "2" * 20, tmp_path / "login"
    login.write_text(password + "\n")
    users = tmp_path / "users"
    program = shutil.which("mosquitto_passwd")
    if program is None:
        absent("mosquitto_passwd is not installed: apt-get install mosquitto")
    subprocess.run([program, "-c", "-b", str(users), "auditor", password], check=True, capture_output=True, timeout=60)
    users.chmod(0o644)
    more = f"allow_anonymous false\npassword_file {users}\ncafile {pem}\ncertfile {pem}\nkeyfile {pem}\n"
    broker = Broker(free_port, tmp_path, f"{more}require_certificate true\nuser root")
    command = ["audit", "--mqtt", f"127.0.0.1:{free_port}", "--user", "auditor"]
    ours = ["--ca", str(pem), "--cert", str(pem), "--key", str(pem)]
    try:
        broker.start()
        audit = edge_vision(*command, *ours, "--password-file", login, "--idle", "5", "--seconds", "50")
        with publisher(free_port, (pem, password)) as publish:
            listening(audit)
            publish(message(1), message(2))
        output, errors = audit.communicate(timeout=60)
        assert (audit.returncode, "no loss" in output) == (0, True), errors
        monkeypatch.setenv(PASSWORD, f"{password}-wrong")
        for words, why in ((ours, "refused the connection: Not authorized"), (["--tls"], "certificate verify failed")):
            audit = edge_vision(*command, *words, "--wait", "3")
            output, errors = audit.communicate(timeout=60)
            assert (audit.returncode, why in errors) == (3, True), errors
            assert "hunter" not in output + errors
    finally:
        broker.kill()
    locked = tmp_path / "locked.pem"
    openssl = ["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", str(pem), "-out", str(locked)]
    subprocess.run(openssl, check=True, capture_output=True, timeout=60)
    assert run_command([*command, "--cert", str(pem), "--key", str(locked)]) == 78, "it asks nobody for the password"
    for words in (["--ca", str(login)], ["--cert", str(login), "--key", str(pem)], ["--ca", str(tmp_path / "none")]):
        assert run_command([*command, *words]) == 78
    assert run_command([*command, "--password-file", str(tmp_path / "none")]) == 78


def test_nobody_there_is_not_no_loss(edge_vision: Start, free_port: int) -> None:
    """Without a broker, and with a publisher that is not there: 3 after the wait, and the reason."""
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{free_port}", "--wait", "1")
    output, errors = audit.communicate(timeout=60)
    assert (audit.returncode, output.startswith("nothing received that counts")) == (3, True)
    assert "Connection refused" in errors
    audit = edge_vision("audit", "--zeromq", f"tcp://127.0.0.1:{free_port}", "--wait", "1")
    audit.communicate(timeout=60)
    assert audit.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_report(number: signal.Signals, edge_vision: Start, broker: Broker) -> None:
    """Ctrl-C is how an audit without a limit ends; the broker forgets a session without a name."""
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{broker.port}", "--json", "--protocol", "3.1.1")
    with publisher(broker.port) as publish:
        listening(audit)
        publish(message(1), message(2))
    audit.send_signal(number)
    assert report_of(audit)["received"] in {0, 1, 2}
    assert audit.returncode in {0, 3}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("name", [None, "auditor"])
def test_a_session_without_a_name_is_forgotten(protocol: Any, name: str | None, broker: Broker) -> None:
    """A broker would queue for ever for who never comes back; for a name it keeps the session."""
    auditor = Auditor(Ledger(Book(), live=True), SystemClock(), Limits(seconds=0.3))
    listener = MqttListener(
        Origin("127.0.0.1", broker.port, protocol=protocol, client_id=name), auditor, lambda _: None
    )
    listener.listen(Worker("audit", lambda _: None, 60.0, SystemClock()))
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=listener._client_id, protocol=paho.MQTTv5)
    present: list[bool] = []
    client.on_connect = lambda _client, _data, flags, *_: present.append(flags.session_present)
    client.connect("127.0.0.1", broker.port, clean_start=False)
    try:
        wait_until(lambda: client.loop(0.1) == 0 and bool(present), 60, "the broker answers")
    finally:
        client.disconnect()
    assert present == [name is not None]


def test_a_broker_that_does_not_let_us_listen_is_named(edge_vision: Start, free_port: int) -> None:
    """A refused subscription is no silence: mosquitto grants every one, so this broker is of our own making."""
    with socket.create_server(("127.0.0.1", free_port)) as server:
        server.settimeout(60)
        audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{free_port}", "--wait", "0.5")
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x03\x00\x00\x00")
            packet = connection.recv(1000)
            connection.sendall(b"\x90\x04" + packet[2:4] + b"\x00\x87")
            connection.settimeout(60)
            assert connection.recv(1000) == b"", "it goes away"
        _, errors = audit.communicate(timeout=60)
    assert (audit.returncode, "refused the subscription to edge-vision/v1/#: Not authorized" in errors) == (3, True)


@pytest.mark.parametrize("topic", ["", "a#", "a/#/b", "a/b+", "x" * 70_000])
def test_a_topic_that_no_broker_takes_is_refused(topic: str, free_port: int) -> None:
    """At once: to try again would not help."""
    listener = MqttListener(
        Origin("127.0.0.1", free_port, topic), Auditor(Ledger(Book()), SystemClock(), Limits(wait_s=5)), lambda _: None
    )
    with pytest.raises(ConfigError, match="cannot be subscribed to"):
        listener.listen(Worker("audit", lambda _: None, 60.0, SystemClock()))
