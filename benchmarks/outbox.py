"""What the outbox carries: durable messages per second to a broker, as they come and after it was away.

A mosquitto of its own on a loopback port, a file of its own in --folder. Beside it, in turns, bare paho with QoS 1,
which keeps nothing. Also what a message costs the thread that analyzes, and what the disk alone takes. Ends with 1
when fewer messages than --least per second are delivered, or a put takes more than --put microseconds.

usage: python benchmarks/outbox.py [--messages 20000] [--rounds 3] [--least 5000] [--put 10] [--folder FOLDER]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mqtt_sink import bare, mosquitto  # type: ignore[import-not-found]  # beside this script

from edge_vision.app.outlet import Outlet
from edge_vision.core.message import Message
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock

BODY = b'{"schema":"edge-vision/1"}'.ljust(400, b" ")
TOPIC = "edge-vision/v1/bench/cam/verdict"
_PATIENCE_S = 120.0
_AHEAD = 10_000
"""Messages that may wait for the disk: what memory cannot hold would be lost."""
Figures = dict[str, float]


def wait(done: Callable[[], bool], what: str) -> None:
    """Wait for something; ends the program when it does not come."""
    end = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > end:
            sys.exit(f"not within {_PATIENCE_S:g} s: {what}")
        time.sleep(0.002)


def messages(boot: str, count: int) -> list[Message]:
    """So many of 400 bytes."""
    return [
        Message(f"{boot}-cam-verdict-{seq}", boot, seq, "verdict", "cam", TOPIC, BODY) for seq in range(1, count + 1)
    ]


def run(folder: Path, port: int, count: int, *, away: bool) -> Figures:
    """Deliver messages through an outbox, from memory as they come, or from disk when the broker was away."""
    clock = SystemClock()
    wire = Wire("bench", "boot", clock)
    opening = SinkOpening("bench", clock, wire.will(), lambda: wire.status("online", {}))
    outbox = Outbox(folder, OutboxOptions(), clock, lambda _source, gap: sys.exit(f"lost: {gap}"))
    options = MqttOptions(kind="mqtt", host="127.0.0.1", port=port, kinds=("verdict",))
    feed = outbox.feed("bench", ("verdict",), 0.0)
    outlet = Outlet("bench", options, opening, feed)
    outbox.start()
    if not away:
        outlet.worker.start()
        outlet.tried.wait(10)
    batch = messages("b", count)
    began, began_cpu_s, put_s = time.perf_counter(), time.process_time(), 0.0
    for start in range(0, count, 500):
        before = time.thread_time()
        for message in batch[start : start + 500]:
            outbox.put(message)
        put_s += time.thread_time() - before
        wait(lambda: len(outbox.in_memory()) < _AHEAD, "the disk takes them")
    wait(lambda: not away or not outbox.in_memory(), "all is written")
    written_s, written_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    if away:
        began, began_cpu_s = time.perf_counter(), time.process_time()
        outlet.worker.start()
    wait(lambda: feed.waiting == 0, "all is delivered")
    spent_s, spent_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    outlet.end()
    outlet.worker.join(10)
    outbox.end()
    outbox.worker.join(10)
    outbox.close()
    return {
        "put": put_s / count * 1e6,
        "rate": count / spent_s,
        "cpu": spent_cpu_s / count * 1e6,
        "written": count / written_s,
        "written_cpu": written_cpu_s / count * 1e6,
    }


def main() -> int:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=5_000, help="messages per second, at least")
    parser.add_argument("--put", type=float, default=10.0, help="microseconds of the analyzing thread, at most")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    given = parser.parse_args()
    found: dict[str, list[Figures]] = {"as they come": [], "after the broker was away": [], "bare paho": []}
    with mosquitto() as port:
        for _ in range(given.rounds):
            for name, away in (("as they come", False), ("after the broker was away", True)):
                with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                    found[name].append(run(Path(folder), port, given.messages, away=away))
            with bare(port, 64) as send:
                began, began_cpu_s = time.perf_counter(), time.process_time()
                send(given.messages)
                spent_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
                found["bare paho"].append({"rate": given.messages / spent_s, "cpu": cpu_s / given.messages * 1e6})
    middle = {
        name: {key: statistics.median(one[key] for one in figures) for key in figures[0]}
        for name, figures in found.items()
    }
    for name, figures in middle.items():
        print(f"{name:28} {figures['rate']:8.0f} messages/s {figures['cpu']:7.1f} us of processor time each")
    here, away_figures = middle["as they come"], middle["after the broker was away"]
    print(f"{'a put':28} {here['put']:8.1f} us of the thread that analyzes")
    print(
        f"{'the disk alone':28} {away_figures['written']:8.0f} messages/s "
        f"{away_figures['written_cpu']:7.1f} us of processor time each"
    )
    slow = min(here["rate"], away_figures["rate"]) < given.least
    if slow or here["put"] > given.put:
        print(f"fewer than {given.least:g} messages/s, or more than {given.put:g} us for a put")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
