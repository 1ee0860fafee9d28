"""`edge-vision audit` beside real brokers, publishers, recordings and the daemon itself."""

import json
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import zmq
from audited import gap, heartbeat, message
from conftest import Start, wait_until
from demo_site import camera
from file_server import certificate
from paho.mqtt.enums import CallbackAPIVersion
from servers import Broker, absent

from edge_vision.cli.audit import PASSWORD
from edge_vision.cli.command import run_command
from edge_vision.core.errors import ConfigError
from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.keeping import keep
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.over_mqtt import Broker as Origin
from edge_vision.publish.audit.over_mqtt import MqttListener
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker

TOPIC = "edge-vision/v1/test/line/count"


@contextmanager
def publisher(port: int, tls: tuple[Path, str] | None = None) -> Iterator[Callable[..., None]]:
    """Publishes bodies with QoS 1, and waits until the broker has them."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(200)
    if tls is not None:
        pem, password = tls
        client.tls_set(str(pem), str(pem), str(pem))
        client.username_pw_set("auditor", password)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish(*bodies: bytes, topic: str = TOPIC, retain: bool = False) -> None:
        for sent in [client.publish(topic, body, qos=1, retain=retain) for body in bodies]:
            sent.wait_for_publish(60)

    try:
        yield publish
    finally:
        client.disconnect()
        client.loop_stop()


def listening(audit: Any) -> None:
    """Wait until an audit has subscribed."""
    wait_until(lambda: "listening at" in audit.stderr.readline(), 60, "it subscribes")


def report_of(process: Any, timeout_s: float = 60.0) -> dict[str, Any]:
    """The JSON that an audit printed."""
    output, errors = process.communicate(timeout=timeout_s)
    assert output, errors
    report: dict[str, Any] = json.loads(output)
    return report


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of messages, one per line."""

    def write(*bodies: bytes, name: str = "recorded.jsonl") -> Path:
        file = tmp_path / name
        file.write_bytes(b"".join(body + b"\n" for body in bodies))
        return file

    return write


def test_a_site_that_loses_nothing_is_told_so(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, broker: Broker
) -> None:
    """The daemon, a broker, an audit from the first message to the goodbye, beside what the daemon itself wrote."""
    lines = tmp_path / "out.jsonl"
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port}, {"kind": "jsonl", "path": str(lines)}]
    more = ("--strict", "--from-start", "--expect", lines, "--until-offline", "--seconds", "60", "--json")
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{broker.port}", *more)
    listening(audit)
    source = {"kind": "synthetic", "frames": 60, "realtime": False}
    process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
    assert process.wait(60) == 0
    report = report_of(audit)
    assert audit.returncode == 0, report
    assert (report["verdict"], report["missing"], report["told"], report["expected"]) == ("no loss", 0, 0, [])
    (detections,) = (one for one in report["streams"] if one["kind"] == "detections")
    assert (detections["received"], detections["first"], detections["last"]) == (60, 1, 60)
    assert 0 < detections["own_ms"]["p50"] <= detections["own_ms"]["p99"]
    assert detections["wall_ms"]["p50"] > 0


def test_what_is_cut_out_of_a_recording_is_found(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording of the daemon is whole; with lines taken out, doubled and moved, each is counted."""
    lines = tmp_path / "out.jsonl"
    source = {"kind": "synthetic", "frames": 40, "realtime": False}
    publish = [{"kind": "jsonl", "path": str(lines)}]
    process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
    assert process.wait(60) == 0
    assert run_command(["audit", "--file", str(lines), "--strict", "--from-start"]) == 0
    whole = lines.read_bytes().splitlines(keepends=True)
    assert len(whole) == 40
    edited = [*whole[1:10], *whole[13:30], whole[31], whole[30], *whole[32:], whole[5], b"nonsense\n", whole[0][:50]]
    lines.write_bytes(b"".join(edited))
    capsys.readouterr()
    assert run_command(["audit", "--file", str(lines), "--strict", "--from-start", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (stream,) = report["streams"]
    assert stream["missing"] == {"count": 4, "ranges": [[1, 1], [11, 13]]}
    assert stream["duplicates"] == {"same": 1, "different": 0, "uncompared": 0}
    assert (stream["out_of_order"], report["malformed"]) == (1, {"is not JSON": 1})
    assert run_command(["audit", "--file", str(lines)]) == 3, "detections do not decide, and there is nothing else"


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
    killed, told = threading.Event(), threading.Event()

    def send() -> None:
        with publisher(broker.port) as publish:
            for start in range(1, 3001, 50):
                publish(*[message(seq) for seq in range(start, start + 50)])
                if start > 1000:
                    killed.wait(60)
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
    audit = edge_vision("audit", "--mqtt", f"127.0.0.1:{free_port}", "--idle", "6", "--wait", "50", "--json")
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
        audit = edge_vision(*command, *ours, "--password-file", login, "--idle", "1", "--seconds", "30")
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


def test_over_zeromq(edge_vision: Start, free_port: int) -> None:
    """What a PUB socket sends, and what its heartbeats say that it sent; with CURVE, too."""
    public, secret = zmq.curve_keypair()
    for more in ((), ("--server-key", public.decode())):
        with zmq.Context() as context, context.socket(zmq.XPUB) as publishing:
            publishing.set(zmq.LINGER, 0)
            publishing.set(zmq.RCVTIMEO, 60_000)
            if more:
                publishing.set(zmq.CURVE_SERVER, 1)
                publishing.set(zmq.CURVE_SECRETKEY, secret)
            publishing.bind(f"tcp://127.0.0.1:{free_port}")
            audit = edge_vision("audit", "--zeromq", f"tcp://127.0.0.1:{free_port}", "--idle", "3", "--json", *more)
            assert publishing.recv() == b"\x01edge-vision/v1/"
            for body in (*[message(seq) for seq in (1, 2, 4)], heartbeat(("line", "count", 6))):
                publishing.send_multipart([TOPIC.encode(), body])
            report = report_of(audit)
        assert (audit.returncode, report["heartbeats"]) == (1, 1)
        assert report["streams"][0]["missing"] == {"count": 3, "ranges": [[3, 3], [5, 6]]}


def test_recordings_are_read_in_order_and_from_standard_input(
    recording: Callable[..., Path], edge_vision: Start, tmp_path: Path
) -> None:
    """Two files are one stream; so is a pipe; an expectation is checked against it."""
    first = recording(message(1), message(2), name="a")
    second = recording(message(3), name="b")
    wanted = recording(message(1), message(4), name="wanted")
    assert run_command(["audit", "--file", str(first), str(second), "--from-start"]) == 0
    assert run_command(["audit", "--file", str(second), "--from-start"]) == 1
    assert run_command(["audit", "--file", str(first), str(second), "--expect", str(wanted)]) == 1
    assert run_command(["audit", "--file", str(tmp_path / "none")]) == 78
    assert run_command(["audit", "--file", str(tmp_path)]) == 78
    assert run_command(["audit", "--file", str(first), "--expect", str(recording(b"{}", name="bad"))]) == 78
    half = recording(message(1), message(9)[:50], message(2), name="half")
    assert run_command(["audit", "--file", str(first), "--expect", str(half)]) == 0, "a process was killed half-way"
    piped = edge_vision("audit", "--file", "-", "--json", stdin=-1)
    output, _ = piped.communicate("\n".join(body.decode() for body in (message(1), message(3))), timeout=60)
    assert (piped.returncode, json.loads(output)["missing"]) == (1, 1)


def test_an_audit_of_recordings_goes_on_day_after_day(
    recording: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--state`: the next file continues the last; what is no such state is refused, and kept."""
    state = tmp_path / "kept" / "audit.json"
    days = [[1, 2, 3], [4, 6], [5, 3]]
    codes = [
        run_command(["audit", "--state", str(state), "--json", "--file", str(recording(*map(message, numbers)))])
        for numbers in days
    ]
    assert codes == [0, 1, 0]
    report = json.loads("{" + capsys.readouterr().out.rpartition("\n{")[2])
    assert (report["received"], report["out_of_order"], report["duplicates"]["uncompared"]) == (7, 1, 1)
    state.write_text("[]")
    assert run_command(["audit", "--state", str(state), "--file", str(recording(message(1)))]) == 78
    assert state.read_text() == "[]"
    state.write_text('{"version": 9, "turn": 1, "book": {}}')
    assert run_command(["audit", "--state", str(state), "--file", str(recording(message(1)))]) == 78
    assert "another version" in capsys.readouterr().err


def test_a_full_disk_is_no_loss(edge_vision: Start, tmp_path: Path) -> None:
    """What the journal does not take is not acknowledged, and leaves no half line that hides what follows."""

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    state = tmp_path / "audit.json"
    lines = "\n".join(message(seq).decode() for seq in range(1, 101))
    audit = edge_vision("audit", "--file", "-", "--state", state, stdin=-1, preexec_fn=small)
    _, errors = audit.communicate(lines, timeout=60)
    assert (audit.returncode, "audit.json: " in errors) == (70, True)
    journal = state.with_name("audit.json.journal").read_bytes()
    assert 9_000 < len(journal) <= 10_000
    assert journal.endswith(b"\n")
    audit = edge_vision("audit", "--file", "-", "--state", state, "--json", stdin=-1)
    output, errors = audit.communicate(lines, timeout=60)
    assert audit.returncode == 0, errors
    stream = json.loads(output)["streams"][0]
    assert (stream["received"], stream["duplicates"]["uncompared"]) == (100, journal.count(b"\n") - 1)
    assert stream["wall_ms"] == {}, "a recording has no time of arrival, nor has its journal"


def test_two_audits_do_not_share_a_state(tmp_path: Path) -> None:
    """The second one is refused while the first is at work."""
    with keep(tmp_path / "a.json"), pytest.raises(ConfigError, match="another audit"), keep(tmp_path / "a.json"):
        pass


@pytest.mark.parametrize("topic", ["", "a#", "a/#/b", "a/b+", "x" * 70_000])
def test_a_topic_that_no_broker_takes_is_refused(topic: str, free_port: int) -> None:
    """At once: to try again would not help."""
    listener = MqttListener(
        Origin("127.0.0.1", free_port, topic), Auditor(Ledger(Book()), SystemClock(), Limits(wait_s=5)), lambda _: None
    )
    with pytest.raises(ConfigError, match="cannot be subscribed to"):
        listener.listen(Worker("audit", lambda _: None, 60.0, SystemClock()))


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--mqtt broker --file x",
        "--mqtt user@broker",
        "--mqtt mqtt://broker",
        "--mqtt broker:0",
        "--mqtt broker:70000",
        "--file x --seconds 3",
        "--file x --client-id a",
        "--zeromq tcp://h:1 --ca x",
        "--mqtt h --cert x",
        "--mqtt h --password-file x",
        "--zeromq tcp://h:1 --secret-key x",
        "--mqtt h --replay tcp://h:1",
        "--mqtt h --kinds line_crosed",
        "--mqtt h --kinds gap --strict",
        "--mqtt h --idle 0",
    ],
)
def test_a_wrong_command_line_ends_in_2(arguments: str) -> None:
    """What does not go together is said before anything is opened."""
    with pytest.raises(SystemExit) as ended:
        run_command(["audit", *arguments.split()])
    assert ended.value.code == 2


def test_help_says_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever builds a drill on it reads it there."""
    with pytest.raises(SystemExit):
        run_command(["audit", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("0 no loss", "1 loss", "2 wrong command line", "3 nothing received", "78 wrong file"):
        assert words in text
