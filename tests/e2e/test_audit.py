"""`edge-vision audit` beside the daemon itself and what it wrote, and over ZeroMQ."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
from audited import heartbeat, message
from auditing import TOPIC, listening, report_of
from conftest import Start
from demo_site import camera
from servers import Broker

from edge_vision.cli.command import run_command


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
