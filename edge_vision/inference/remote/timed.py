"""A socket with one limit for a whole exchange, where Python's own has one for each byte."""

import io
import socket
import time
from typing import Any


class TimedSocket:
    """What http.client needs of a socket, with one limit for a whole exchange: one byte a second is no answer."""

    def __init__(self, inner: socket.socket, end: float) -> None:
        self._inner = inner
        self._reader: _TimedReader | None = None
        self.end = end

    def arm(self) -> socket.socket:
        """The socket, to be waited for until the end. Raises TimeoutError past it."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._inner.settimeout(left)
        return self._inner

    def sendall(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        self.arm().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader for one answer; closing it leaves the socket open."""
        del mode
        self._reader = _TimedReader(self)
        return io.BufferedReader(self._reader)

    def close(self) -> None:
        """Close the socket, once the answer that is being read has been."""
        if self._reader is None or self._reader.closed:
            self._inner.close()
        else:
            self._reader.last = True

    def abort(self) -> None:
        """Close the socket now."""
        self._inner.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, owner: TimedSocket) -> None:
        super().__init__()
        self._owner = owner
        self.last = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.arm().recv_into(buffer)

    def close(self) -> None:
        super().close()
        if self.last:
            self._owner.abort()
