"""How many messages per second an audit takes: from memory, from a recording, and from a broker, where it waits.

For the broker, an audit with a named session subscribes and ends; the messages are published meanwhile, and the time
is that from the next audit's start to its last message. Needs mosquitto.

usage: python benchmarks/audit.py [--messages 100000] [--objects 3]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.keeping import keep
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.over_mqtt import Broker, MqttListener
from edge_vision.publish.audit.report import Scope, make_report
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker

PORT = 18_831
BOOT = "019a00000000aaaaaa"


def body(seq: int, objects: int) -> bytes:
    """A message about one frame, as a site sends it."""
    seen = {"class": "part", "class_id": 1, "confidence": 0.9174, "xyxy": [1.25, 2.5, 103.75, 204.5], "track_id": 7}
    frame = {"index": seq, "timestamp": "2026-11-22T05:00:00.123456Z", "media_ms": 40.0, "width": 1920, "height": 1080}
    spent = dict.fromkeys(("capture", "preprocess", "inference", "postprocess", "analytics", "total"), 1.234)
    model = {"name": "parts", "backend": "openvino", "device": "CPU", "precision": "f32"}
    head = {"schema": "edge-vision/1", "kind": "detections", "id": f"{BOOT}-line-detections-{seq}", "boot": BOOT}
    whole = {**head, "seq": seq, "site": "hall-7", "source": "line", "frame": frame, "objects": [seen] * objects}
    return json.dumps({**whole, "latency_ms": spent, "model": model}, separators=(",", ":")).encode()


def say(what: str, count: int, seconds: float) -> None:
    """A line of figures."""
    print(f"{what:<28} {count / seconds:>9,.0f} messages/s  {seconds / count * 1e6:6.1f} us each")


def from_memory(bodies: list[bytes]) -> None:
    """The bookkeeping alone."""
    auditor = Auditor(Ledger(Book(), live=True), SystemClock(), Limits())
    started = time.perf_counter()
    for one in bodies:
        auditor.hear(one)
    say("from memory", len(bodies), time.perf_counter() - started)
    assert make_report(auditor.ledger, Scope(frozenset()), 0.0).exit_code == 0


def from_a_recording(bodies: list[bytes], folder: Path) -> None:
    """The command, with the start of Python."""
    file = folder / "recorded.jsonl"
    file.write_bytes(b"\n".join(bodies) + b"\n")
    started = time.perf_counter()
    command = [sys.executable, "-m", "edge_vision", "audit", "--file", str(file), "--strict", "--from-start"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    say("from a recording, command", len(bodies), time.perf_counter() - started)


def listen(limits: Limits, state: Path | None = None) -> tuple[Auditor, float]:
    """Listen at the broker; the auditor, and how long it took."""
    clock = SystemClock()
    with nullcontext() if state is None else keep(state) as kept:
        auditor = Auditor(Ledger(Book() if kept is None else kept.book, live=True), clock, limits, kept)
        worker = Worker("audit", lambda _: None, 60.0, clock)
        listener = MqttListener(Broker("127.0.0.1", PORT, client_id="benchmark"), auditor, lambda _: None)
        started = time.perf_counter()
        listener.listen(worker)
        return auditor, time.perf_counter() - started


def from_a_broker(bodies: list[bytes], folder: Path, state: Path | None = None) -> None:
    """With everything that MQTT costs, each message acknowledged; with `state` when it is on the disk."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        print("from a broker: mosquitto is not installed")
        return
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {PORT} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        listen(Limits(seconds=0.5))
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", PORT)
        client.loop_start()
        sent: list[Any] = [client.publish("edge-vision/v1/hall-7/line/detections", one, qos=1) for one in bodies]
        for one in sent:
            one.wait_for_publish(60)
        client.disconnect()
        client.loop_stop()
        idle_s = 1.0
        auditor, seconds = listen(Limits(idle_s=idle_s, seconds=120), state)
        received = auditor.ledger.book.received
        say("from a broker, QoS 1" + (", --state" if state else ""), received, seconds - idle_s)
        assert received == len(bodies)
        assert make_report(auditor.ledger, Scope(frozenset(), from_start=True), 0.0).exit_code == 0
    finally:
        broker.kill()
        broker.wait()


def main() -> None:
    """Measure all four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=3)
    options = parser.parse_args()
    bodies = [body(seq, options.objects) for seq in range(1, options.messages + 1)]
    print(f"{len(bodies[0])} bytes each")
    with tempfile.TemporaryDirectory() as folder:
        from_memory(bodies)
        from_a_recording(bodies, Path(folder))
        from_a_broker(bodies, Path(folder))
        from_a_broker(bodies, Path(folder), Path(folder) / "audit.json")


if __name__ == "__main__":
    main()
