"""Says why a broker does not take what is sent to it, and how long to wait before it is asked again."""

import ssl
from dataclasses import dataclass
from typing import Final

from paho.mqtt.reasoncodes import ReasonCode

from edge_vision.core.errors import SinkError
from edge_vision.runtime.loops import MOST_PATIENCE

SLOW_S: Final = 60.0
"""Where only a person can mend it: who knocks more often is locked out, or fills the broker's log."""
_TLS_ALERT: Final = b"\x15"
DOUBTFUL_S: Final = 15.0
"""Where a person must probably mend it, or the broker just starts."""

_HINTS: Final = {
    0x84: "set protocol to the version that it speaks",
    0x85: "set another client_id",
    0x86: "check username and password",
    0x87: "check username and password, and what the broker allows this client",
    0x8A: "the broker's administrator has banned this client",
    0x8C: "",
    0x8E: "another client uses the same client_id: each site needs its own",
    0x90: "check topic",
    0x95: "the site's status is larger than it takes",
    0x9A: "the broker retains nothing: leave status out of kinds",
    0x9B: "the broker does not take QoS 1",
    0x9C: "",
    0x9D: "",
}
"""Reasons that stay what they are until somebody changes a setting, by code (MQTT 5, 2.4)."""

_THROWN_OUT: Final = frozenset({0x8A, 0x8C, 0x8E, 0x9C, 0x9D})
"""Those of them that are about the client, when a broker says them at the end of a connection."""

_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": "the certificate of this client has expired",
    "CERTIFICATE_REVOKED": "the certificate of this client has been revoked",
    "CERTIFICATE_REQUIRED": "it wants a certificate of this client: set tls.certificate and tls.key",
    "UNKNOWN_CA": "it does not know the authority of this client's certificate",
    "BAD_CERTIFICATE": "it does not accept the certificate of this client",
    "CERTIFICATE_UNKNOWN": "it does not accept the certificate of this client",
    "UNSUPPORTED_CERTIFICATE": "it does not accept the certificate of this client",
    "HANDSHAKE_FAILURE": "perhaps it wants a certificate of this client, or has no cipher in common with it",
    "PROTOCOL_VERSION": "it does not speak this version of TLS: see tls.minimum_version",
}
"""What the other side means with an alert of TLS (RFC 8446, 6.2)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it failed, in words, and how many seconds to wait at least; 0 where the usual wait does."""

    text: str
    patience_s: float = 0.0

    def error(self, broker: str, delivered: int = 0) -> SinkError:
        """The error to raise: it names the broker, the cause, and how often it is asked again if not as usual."""
        often = (
            f"; asked again only every {self.patience_s:g} to {MOST_PATIENCE * self.patience_s:g} s"
            if self.patience_s
            else ""
        )
        return SinkError(f"{broker}: {self.text}{often}", delivered, self.patience_s)


def refusal(reason: ReasonCode, who: str) -> Cause:
    """A broker's answer to CONNECT, or its last word, in words."""
    hint = _HINTS.get(reason.value)
    text = f"the broker refused the connection of {who}: {reason}" + (f" ({hint})" if hint else "")
    return Cause(text, SLOW_S if reason.value in _HINTS else 0.0)


def farewell(reason: ReasonCode) -> Cause:
    """Why a broker ended a connection that stood. Mostly a message is at fault, which others need not wait for."""
    if reason.value not in _THROWN_OUT:
        return Cause(f"disconnected: {reason}")
    hint = _HINTS[reason.value]
    return Cause(f"disconnected: {reason}" + (f" ({hint})" if hint else ""), SLOW_S)


def cause_of(error: BaseException, *, connected: bool, timeout_s: float) -> Cause:
    """What an error of the socket means; `connected` tells a connection that was lost from one never made."""
    what = "connection lost" if connected else "cannot connect"
    if isinstance(error, ssl.SSLError):
        return _tls_cause(error, what)
    if isinstance(error, TimeoutError):
        return Cause(f"{what}: no answer within {timeout_s:g} s")
    if isinstance(error, UnicodeError):
        return Cause(f"{what}: this is not the name of a host", SLOW_S)
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__name__
    return Cause(f"{what}: {reason}")


def _tls_cause(error: ssl.SSLError, what: str) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message.rstrip(".")
        clock = ", or the clock of this machine is wrong" if "not yet valid" in text else ""
        name = " (see tls.server_name)" if "mismatch" in text else ""
        return Cause(f"{what}: the broker's certificate is not to be trusted: {text}{name}{clock}", SLOW_S)
    reason = error.reason or ""
    _, alert, meaning = reason.partition("ALERT_")
    if alert:
        said = meaning.lower().replace("_", " ")
        hint = f": {_ALERTS[meaning]}" if meaning in _ALERTS else ""
        return Cause(f'{what}: the broker ended the TLS connection with "{said}"{hint}', SLOW_S)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}:
        return Cause(f"{what}: what answers there does not speak TLS: check port and tls", SLOW_S)
    return Cause(f"{what}: TLS: {reason.lower().replace('_', ' ') or 'failed'}", DOUBTFUL_S)


def ended_in_handshake(certificate: str | None) -> Cause:
    """The other side hung up on a TLS handshake; `certificate` is what is wrong with the client's, None without one."""
    what = "cannot connect: the broker ended the connection in the TLS handshake"
    if certificate:
        return Cause(f"{what}: {certificate}", SLOW_S)
    known = "want a certificate of this client" if certificate is None else "know who issued this client's certificate"
    return Cause(f"{what}: does it speak TLS on this port, and does it {known}?", DOUBTFUL_S)


def is_end(error: BaseException) -> bool:
    """Whether the other side just hung up."""
    cut = isinstance(error, ssl.SSLError) and error.reason == "UNEXPECTED_EOF_WHILE_READING"
    return cut or isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def ended_without_answer(first: bytes) -> Cause:
    """The other side hung up on CONNECT; `first` is how it began to answer, if it did."""
    if first == _TLS_ALERT:
        return Cause("cannot connect: the broker speaks TLS on this port: set tls, or another port", SLOW_S)
    if first:
        return not_mqtt("cannot connect")
    text = "the broker ended the connection without an answer: does it speak TLS on this port?"
    return Cause(f"cannot connect: {text}", DOUBTFUL_S)


def not_mqtt(what: str) -> Cause:
    """The other side speaks something else, or another version."""
    return Cause(f"{what}: what answers there is not MQTT of this version: check port, protocol and tls", DOUBTFUL_S)
