"""What the MQTT sink carries: messages per second and processor time, beside bare paho with QoS 1, in one run.

A mosquitto of its own on a loopback port; the two take turns, so that a busy machine slows both. Ends with 1 when the
sink carries fewer messages per second than --least, or takes more than --most times the processor time of bare paho.

usage: python benchmarks/mqtt_sink.py [--messages 20000] [--rounds 5] [--least 5000] [--most 1.2]
"""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_vision.core.message import Message
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.sink import open_mqtt
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock

BATCH = 256
BODY = b'{"schema":"edge-vision/1"}'.ljust(400, b" ")
TOPIC = "edge-vision/v1/bench/cam/detections"
INFLIGHT = (20, 64, 1000)
Run = Callable[[int], None]


@contextlib.contextmanager
def mosquitto() -> Iterator[int]:
    """A broker; gives its port."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n")
        with subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 10
                while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < end:
                    time.sleep(0.05)
                yield port
            finally:
                process.terminate()


@contextlib.contextmanager
def sink(port: int, inflight: int) -> Iterator[Run]:
    """Sends through the sink, in the outlet's batches."""
    wire = Wire("bench", "boot", SystemClock())
    opening = SinkOpening("bench", SystemClock(), wire.will(), lambda: wire.status("online", {}))
    options = MqttOptions(kind="mqtt", host="127.0.0.1", port=port, inflight=inflight, client_id=f"sink-{inflight}")
    batch = [Message(f"m{seq}", "boot", seq, "detections", "cam", TOPIC, BODY) for seq in range(1, BATCH + 1)]
    with open_mqtt(options, opening) as opened:

        def run(count: int) -> None:
            for start in range(0, count, BATCH):
                opened.send(batch[: count - start])

        yield run


@contextlib.contextmanager
def bare(port: int, inflight: int) -> Iterator[Run]:
    """Sends through paho's own thread and queue, and waits for the last acknowledgement."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, client_id=f"bare-{inflight}")
    client.max_inflight_messages_set(inflight)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def run(count: int) -> None:
        told = [client.publish(TOPIC, BODY, qos=1) for _ in range(count)]
        for info in told:
            info.wait_for_publish(60)

    yield run
    client.disconnect()
    client.loop_stop()


def measure(run: Run, count: int) -> tuple[float, float]:
    """Messages per second, and microseconds of processor time per message."""
    started, spent = time.monotonic(), time.process_time()
    run(count)
    return count / (time.monotonic() - started), (time.process_time() - spent) / count * 1e6


def main() -> int:
    """Print the figures; 1 when the sink falls short."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least", type=float, default=5_000)
    parser.add_argument("--most", type=float, default=1.2)
    given = parser.parse_args()
    ways = {"sink": sink, "bare paho": bare}
    runs: dict[tuple[int, str], Run] = {}
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    with mosquitto() as port, contextlib.ExitStack() as stack:
        runs = {
            (inflight, name): stack.enter_context(way(port, inflight))
            for inflight in INFLIGHT
            for name, way in ways.items()
        }
        for _ in range(given.rounds):
            for key, run in runs.items():
                found.setdefault(key, []).append(measure(run, given.messages))
    print(f"{len(BODY)} bytes, batches of {BATCH}, {given.messages} messages, median of {given.rounds} rounds")
    medians = {
        key: tuple(statistics.median(each) for each in zip(*figures, strict=True)) for key, figures in found.items()
    }
    for (inflight, name), (rate, spent) in medians.items():
        print(f"  inflight {inflight:4}  {name:9}  {rate:8,.0f} messages/s  {spent:5.1f} us of processor time each")
    short = [inflight for inflight in INFLIGHT if medians[inflight, "sink"][0] < given.least]
    costs = {inflight: medians[inflight, "sink"][1] / medians[inflight, "bare paho"][1] for inflight in INFLIGHT}
    dear = [inflight for inflight, cost in costs.items() if cost > given.most]
    if short or dear:
        print(f"below {given.least:g} messages/s: {short}; more than {given.most:g} times bare paho's time: {dear}")
    return 1 if short or dear else 0


if __name__ == "__main__":
    sys.exit(main())
