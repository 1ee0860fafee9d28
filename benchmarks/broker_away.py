"""What a broker that is away costs: frames analyzed per second and processor time, and how memory grows.

The same site runs with its broker there and away, in turns; every message of it may not be lost. Then one long run
without a broker, whose memory is measured after a while and at the end. Ends with 1 when fewer than --least times the
frames are analyzed while the broker is away, or memory grows by more than --grow MB a minute.

usage: python benchmarks/broker_away.py [--seconds 15] [--rounds 3] [--long 120] [--least 0.95] [--grow 2]
"""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mqtt_sink import mosquitto  # type: ignore[import-not-found]  # beside this script

_START_S = 4.0
_SETTLE_S = 30.0
_FPS = 400
_SITE = """
version: 1
site: bench
cameras:
  - {{id: line, source: {{kind: synthetic, size: [640, 480], fps: {fps}}}, pipeline: motion_only}}
publish:
  - {{kind: mqtt, host: 127.0.0.1, port: {port}, durable: [detections, status, gap, motion_changed]}}
outbox: {{max_mb: 64}}
state_dir: state
"""
Figures = tuple[float, float]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def memory_mb(pid: int) -> float:
    """What a process holds of the memory now."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def processor_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(port: int, seconds: float, *, long: bool = False) -> Figures:
    """Frames per second and processor time per frame in ms; in a long run, memory in MB early and late."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        folder = Path(name)
        (folder / "site.yaml").write_text(_SITE.format(port=port, fps=_FPS), encoding="utf-8")
        notify.bind(str(folder / "notify.sock"))
        notify.setblocking(False)
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify.sock")}
        command = [sys.executable, "-m", "edge_vision", "run", "site.yaml"]
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                time.sleep(_SETTLE_S if long else _START_S)
                if long:
                    early = memory_mb(process.pid)
                    time.sleep(seconds)
                    return early, memory_mb(process.pid)
                frames, spent_s = _frames(notify), processor_s(process.pid)
                began = time.monotonic()
                time.sleep(seconds)
                more, spent_s = _frames(notify, frames) - frames, processor_s(process.pid) - spent_s
                return more / (time.monotonic() - began), spent_s / max(1, more) * 1000
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _frames(notify: socket.socket, known: int = 0) -> int:
    """What the daemon last told systemd of the frames it has analyzed."""
    time.sleep(0.6)
    for _ in range(100_000):
        try:
            text = notify.recv(4096).decode()
        except BlockingIOError:
            return known
        found = re.search(r"(\d+) frames analyzed", text)
        known = int(found[1]) if found else known
    return known


def main() -> int:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=float, default=120.0, help="seconds of the run in which memory is measured")
    parser.add_argument("--least", type=float, default=0.95, help="frames per second, as a part of those with a broker")
    parser.add_argument("--grow", type=float, default=2.0, help="MB a minute, at most")
    given = parser.parse_args()
    there: list[Figures] = []
    away: list[Figures] = []
    with mosquitto() as port:
        for _ in range(given.rounds):
            there.append(run(port, given.seconds))
            away.append(run(free_port(), given.seconds))
    fps, ms = (statistics.median(one[place] for one in there) for place in (0, 1))
    fps_away, ms_away = (statistics.median(one[place] for one in away) for place in (0, 1))
    print(f"broker there {fps:7.1f} frames/s {ms:6.2f} ms of processor time each")
    print(f"broker away  {fps_away:7.1f} frames/s {ms_away:6.2f} ms of processor time each: {fps_away / fps:.3f} times")
    early, late = run(free_port(), given.long, long=True)
    grown = (late - early) / given.long * 60
    print(f"memory       {early:7.1f} MB after {_SETTLE_S:g} s, {late:.1f} MB at the end: {grown:.2f} MB a minute")
    return 1 if fps_away < given.least * fps or grown > given.grow else 0


if __name__ == "__main__":
    sys.exit(main())
