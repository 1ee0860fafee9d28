"""What systemd wants to hear: sd_notify(3) over a datagram socket."""

import os
import socket
import time

_TIMEOUT_S = 1.0


class Notifier:
    """Tells systemd how the service is; does nothing when not started by systemd."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s()

    def ready(self, status: str) -> None:
        """Every engine has loaded and every worker runs."""
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def reloading(self) -> None:
        """The service begins anew in this process; `ready` tells when it has."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def progress(self, status: str) -> None:
        """Feed the watchdog: to be called only when every worker makes real progress."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for more time before a start or stop is taken for hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # "@" is how the environment writes the leading NUL of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(_TIMEOUT_S)
            try:
                out.sendto(text.encode(), address)
            except OSError:  # a full or vanished socket: the next one tells as much
                return


def _watchdog_s() -> float | None:
    """The watchdog's period in seconds when it is meant for this process, else None."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1e6
