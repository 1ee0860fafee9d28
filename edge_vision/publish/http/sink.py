"""Messages to a web server: posted, signed, and delivered when it answers 2xx."""

import hashlib
import hmac
import http.client
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from edge_vision import __version__
from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.core.message import Message
from edge_vision.core.options import Secret
from edge_vision.publish.http.address import HEADER_TEXT, hidden_in
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.http.poster import OUTAGE_S, Answer, Poster
from edge_vision.publish.table import SinkOpening

SIGNATURE: Final = "X-Edge-Vision-Signature"
_ID: Final = "X-Edge-Vision-Id"
_KIND: Final = "X-Edge-Vision-Kind"
_COUNT: Final = "X-Edge-Vision-Count"
_BATCH_BYTES: Final = 1_000_000
"""A batch ends before it is larger: many servers take 1 MiB and no more (nginx, client_max_body_size)."""

_REFUSED: Final = frozenset({400, 409, 410, 413, 422})
"""Answers about what was posted: it would be refused again (RFC 9110, 15.5)."""
_SOON: Final = frozenset({408, 425, 429})
"""Answers about the moment, like 5xx: it may be taken the next time."""
_SERVER_ERRORS: Final = 500
_SETUP_S: Final = 60.0
"""How long an answer is left alone that only people can mend: a wrong address, a wrong secret, a redirect."""
_LONGEST_S: Final = 300.0
"""No server puts it off for longer with one answer."""


class HttpSink:
    """Posts messages one by one, or in batches, over one connection."""

    def __init__(
        self, poster: Poster, options: HttpSinkOptions, opening: SinkOpening, secret: bytes, headers: dict[str, str]
    ) -> None:
        self._poster = poster
        self._name = options.shown_url
        self._most = options.batch
        self._opening = opening
        self._secret = secret
        self._headers = headers

    def send(self, messages: Sequence[Message]) -> None:
        """Post every message and return when the server has taken all. Raises SinkError.

        A message that the server refuses is dropped, counted, with the server's reason: it would refuse it again.
        """
        done = 0
        for part in self._parts(messages):
            try:
                self._deliver(part)
            except SinkError as error:
                raise SinkError(str(error), done + error.delivered, patience_s=error.patience_s) from None
            done += len(part)

    def _parts(self, messages: Sequence[Message]) -> Iterator[list[Message]]:
        """The messages in batches, in their order."""
        part: list[Message] = []
        size = 0
        for message in messages:
            if part and (len(part) == self._most or size + len(message.body) > _BATCH_BYTES):
                yield part
                part, size = [], 0
            part.append(message)
            size += len(message.body) + 1
        if part:
            yield part

    def _deliver(self, part: list[Message]) -> None:
        """Post a batch; one that is refused is posted again message by message, to find the one at fault."""
        answer = self._post(part)
        self._opening.progress()
        if answer.delivered:
            return
        if answer.status not in _REFUSED:
            raise self._kept(answer)
        if len(part) == 1:
            self._opening.on_dropped(part[0], f"the server refused it: {answer.words}")
            return
        for number, message in enumerate(part):
            try:
                self._deliver([message])
            except SinkError as error:
                raise SinkError(str(error), number, patience_s=error.patience_s) from None

    def _post(self, part: list[Message]) -> Answer:
        body = part[0].body
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "User-Agent": f"edge-vision/{__version__}",
            _ID: part[0].id,
            _KIND: ",".join(dict.fromkeys(message.kind for message in part)),
        }
        if self._most > 1:
            body = b"[" + b",".join(message.body for message in part) + b"]"
            headers[_COUNT] = str(len(part))
        if self._secret:
            headers[SIGNATURE] = sign(self._secret, int(self._opening.clock.now().timestamp()), body)
        return self._poster.post(body, headers)

    def _kept(self, answer: Answer) -> SinkError:
        """What to raise for an answer that is not about the message: it is kept, and posted again."""
        soon = answer.status in _SOON or answer.status >= _SERVER_ERRORS or answer.status < http.client.OK
        patience_s = self._put_off(answer.retry_after)
        text = f"{self._name}: answered {answer.words}"
        if _redirects(answer.status):
            text += f"; redirects are not followed{self._elsewhere(answer.location)}: url must be the last address"
        return SinkError(text, patience_s=max(patience_s, OUTAGE_S if soon else _SETUP_S))

    def _put_off(self, retry_after: str) -> float:
        """Seconds until the server wants to be asked again, from a number or a date; 0 where it does not say."""
        if re.fullmatch(r"\d+", retry_after, re.ASCII):
            return min(float(retry_after), _LONGEST_S)
        try:
            left_s = (parsedate_to_datetime(retry_after) - self._opening.clock.now()).total_seconds()
        except (TypeError, ValueError, OverflowError):  # no date, or one without a time zone
            return 0.0
        return min(max(0.0, left_s), _LONGEST_S)

    def _elsewhere(self, location: str) -> str:
        """Which server a redirect leads to; its path may be as secret as ours."""
        try:
            parts = urlsplit(location)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return ""
        return " " + self._poster.hide(f"(to {parts.scheme}://{parts.hostname}{port})") if parts.hostname else ""


def _redirects(status: int) -> bool:
    """Whether an answer leads elsewhere."""
    return 300 <= status < 400  # noqa: PLR2004 - RFC 9110, 15.4


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """The signature of a body: HMAC-SHA256 of "<seconds since 1970>.<body>", with the seconds beside it."""
    digest = hmac.new(secret, b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


@contextmanager
def open_http(options: HttpSinkOptions, opening: SinkOpening) -> Iterator[HttpSink]:
    """Read secrets and certificates, and connect. Raises SinkError."""
    name = options.shown_url
    secret = "" if options.secret is None else _revealed(options.secret, f"{name}: secret")
    if options.secret is not None and not secret:
        msg = f"{name}: secret: is empty"
        raise SinkError(msg)
    headers: dict[str, str] = {}
    for header, value in options.headers.items():
        headers[header] = value if isinstance(value, str) else _revealed(value, f"{name}: header {header}")
        if not re.fullmatch(HEADER_TEXT, headers[header]):
            msg = f"{name}: header {header}: the secret is empty or has characters that no header can have"
            raise SinkError(msg)
    hidden = [headers[header] for header, value in options.headers.items() if isinstance(value, Secret)]
    poster = Poster(options.url, name, _context(options), options.timeout_s, [*hidden, secret, *hidden_in(options.url)])
    try:
        poster.open()
        yield HttpSink(poster, options, opening, secret.encode(), headers)
    finally:
        poster.close()


def _revealed(secret: Secret, what: str) -> str:
    try:
        return secret.reveal()
    except ConfigError as error:
        msg = f"{what}: {error}"
        raise SinkError(msg) from None


def _context(options: HttpSinkOptions) -> ssl.SSLContext | None:
    """Whom to trust and how to identify; None for http. Raises SinkError that names the file."""
    if not options.url.startswith("https:"):
        return None
    file = options.ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        context.set_alpn_protocols(["http/1.1"])
        if options.certificate is not None:
            file = options.certificate
            # Without a password of ours, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(file, options.key, password="")
    except OSError as error:
        what = f"{file} with {options.key}" if options.key is not None and file == options.certificate else file
        msg = f"{options.shown_url}: {what}: cannot be used: {error.strerror or error}"
        raise SinkError(msg) from None
    return context
