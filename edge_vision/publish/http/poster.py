"""Posts to one address over a connection that is kept, and reads the answer; knows nothing of messages."""

import http.client
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from edge_vision.core.errors import SinkError
from edge_vision.runtime.connection import TimedSocket, connect, why_lost

OUTAGE_S: Final = 1.0
"""How long a server that cannot take it now is left alone. No message is at fault then, however long it lasts."""
_PORTS: Final = {"http": 80, "https": 443}
_MOST_BYTES: Final = 1 << 16
"""As much of an answer's body is read; after a longer one the connection is closed."""
_MOST_LETTERS: Final = 200
_SHORTEST: Final = 4
"""A word of a secret that is shorter tells nobody anything."""
_CUT_OFF: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""How a connection is found to have been closed by the server."""
_SAY: Final = ("error", "detail", "message", "title", "reason")
"""Where servers that answer in JSON say what is wrong."""


class Answer(NamedTuple):
    """What a server said: status and its name, other words of the server, and two headers where they are there."""

    status: int
    words: str
    retry_after: str
    location: str

    @property
    def delivered(self) -> bool:
        """Whether it has taken what was posted."""
        return http.client.OK <= self.status < http.client.MULTIPLE_CHOICES


class Poster:
    """One connection, opened anew where the server has closed it. `name` stands for the address in errors.

    `hidden` is never repeated, whatever the server says. `timeout_s` is for a whole exchange. For one thread.
    """

    def __init__(
        self, url: str, name: str, tls: ssl.SSLContext | None, timeout_s: float, hidden: Iterable[str]
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None  # the options see to it
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._default_port = _PORTS[parts.scheme]
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._name = name
        self._tls = tls
        self._timeout_s = timeout_s
        # Longest first: of two that overlap no rest is left. Of "Bearer abc" each word counts.
        words = {word for one in hidden for word in (one, *one.split()) if word == one or len(word) >= _SHORTEST}
        self._hidden = sorted(words - {""}, key=len, reverse=True)
        self._connection: http.client.HTTPConnection | None = None
        self._socket: TimedSocket | None = None

    def open(self) -> None:
        """Connect now rather than with the first post. Raises SinkError."""
        try:
            self._connect(time.monotonic() + self._timeout_s)
        except (OSError, UnicodeError) as error:
            raise self._failure(error, "cannot connect: ") from None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once, and once more where a kept connection was closed meanwhile. Raises SinkError, in time."""
        end = time.monotonic() + self._timeout_s
        kept = self._socket is not None and self._socket.quiet
        try:
            if kept:
                try:
                    return self._exchange(body, headers, end)
                except _CUT_OFF:
                    pass  # the server closed it just as this post set out
            self._connect(end)
            return self._exchange(body, headers, end)
        except (OSError, UnicodeError, ValueError, http.client.HTTPException) as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None and self._socket is not None:
            self._socket.abort()
            self._connection.close()
        self._connection = self._socket = None

    def hide(self, text: str) -> str:
        """A foreign text in one short line, without what must not be repeated and without control characters."""
        for one in self._hidden:
            text = text.replace(one, "***")
        text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + "..."

    def _connect(self, end: float) -> None:
        self.close()
        self._connection, self._socket = connect(self._host, self._port, self._tls, end)
        self._connection.default_port = self._default_port  # which goes without saying in Host

    def _exchange(self, body: bytes, headers: Mapping[str, str], end: float) -> Answer:
        """One request and its answer; an answer that is not read to its end costs the connection."""
        assert self._connection is not None
        assert self._socket is not None
        self._socket.end = end
        whole = True
        try:
            self._connection.request("POST", self._target, body=body, headers=headers)
        except _CUT_OFF:
            whole = False  # a server need not read all of what it refuses: its answer may be there
        answer = self._connection.getresponse()
        try:
            content = answer.read(_MOST_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException):
            content = b""  # the status has come, and it is what counts
            whole = False
        read = whole and answer.isclosed() and answer.status >= http.client.OK  # what follows a 1xx is lost
        told = self.hide(f"{answer.status} {answer.reason}")
        if read and not http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
            said = self.hide(_said(content))
            told += f": {said}" if said else ""
        location, retry_after = answer.headers.get("Location", ""), answer.headers.get("Retry-After", "")
        if not read or answer.will_close:
            self.close()
        return Answer(answer.status, told, retry_after, location)

    def _failure(self, error: Exception, what: str = "") -> SinkError:
        """Close, and say why. What a server sends may be in the error: it is neither repeated whole nor chained."""
        self.close()
        if isinstance(error, TimeoutError):
            return SinkError(f"{self._name}: {what}no answer within {self._timeout_s:g} s", patience_s=OUTAGE_S)
        return SinkError(f"{self._name}: {what}{self.hide(why_lost(error))}", patience_s=OUTAGE_S)


def _said(content: bytes) -> str:
    """What a server says in the body of an error: of JSON the message, of text all, of a page for people nothing."""
    text = content.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return ""
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
    if isinstance(found, dict):
        return next((str(found[key]) for key in _SAY if found.get(key)), "")
    return str(found) if isinstance(found, str) else ""
