"""Real servers for the tests: a mosquitto broker and an RTSP server, started, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

DEBIAN_PYTHON = "/usr/bin/python3"


def absent(what: str) -> NoReturn:
    """Skip the test, saying why; where nothing may be absent (as in .ci/run), fail it."""
    if os.environ.get("EDGE_VISION_SERVERS") == "required":
        pytest.fail(what)
    pytest.skip(what)


def wait_for_port(port: int, timeout_s: float = 60.0) -> None:
    """Wait until somebody listens on a loopback port."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"nobody listens on port {port} after {timeout_s:g} s")


class Server:
    """A server process that can be killed and started again on the same port."""

    start_s = 60.0
    """How long it may take until it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """How the server is started."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            self.command(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=self.environment(),
        )
        wait_for_port(self.port, self.start_s)

    def environment(self) -> dict[str, str] | None:
        """The variables it is started with; None for those of this process."""
        return None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, without a word to its clients."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait(60)
            self._process = None


class Broker(Server):
    """A mosquitto that lets anybody in and drops nothing."""

    def __init__(self, port: int, folder: Path, more: str = "") -> None:
        super().__init__(port)
        self._config = folder / "mosquitto.conf"
        self._log = folder / f"mosquitto-{port}.log"
        self._config.write_text(
            f"listener {port} 127.0.0.1\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            f"log_dest file {self._log}\nlog_type all\n{'' if 'user ' in more else 'user root'}\n"
            f"{more or 'allow_anonymous true'}\n"
        )

    @property
    def attempts(self) -> int:
        """How many clients knocked since the first start, by the broker's own log; `wait_for_port` is none."""
        log = self._log.read_text() if self._log.exists() else ""
        return log.count("New connection from") - log.count("Opening ipv4 listen socket")

    @property
    def acknowledged(self) -> int:
        """How many messages subscribers have acknowledged since the first start."""
        return self._log.read_text().count("Received PUBACK from") if self._log.exists() else 0

    def command(self) -> list[str]:
        """Debian puts it into sbin."""
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            absent("mosquitto is not installed: apt-get install mosquitto")
        return [program, "-c", str(self._config)]


class RtspServer(Server):
    """A GStreamer RTSP server that serves a clip, for ever, at rtsp://127.0.0.1:PORT/line."""

    def __init__(self, port: int, clip: Path, user: str = "", password: str = "") -> None:
        super().__init__(port)
        self._clip = clip
        self._login = [user, password] if user else []

    @property
    def url(self) -> str:
        """The address of the stream."""
        return f"rtsp://127.0.0.1:{self.port}/line"

    def command(self) -> list[str]:
        """The server runs on the system's Python, which has the GStreamer bindings."""
        probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
        if subprocess.run([DEBIAN_PYTHON, "-c", probe], capture_output=True, check=False).returncode:
            absent("no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")
        script = Path(__file__).with_name("rtsp_server.py")
        return [DEBIAN_PYTHON, str(script), str(self.port), str(self._clip), *self._login]
