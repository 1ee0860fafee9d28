"""When a certificate is valid: Python's ssl module does not tell of one's own."""

import ssl
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_SHORT: Final = 0x80
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


def why_invalid(file: Path, now: datetime) -> str:
    """What is wrong with the dates of the first certificate in a PEM file; nothing if they are fine or unreadable."""
    try:
        text = file.read_text("ascii", "replace")
        start = text.index(_BEGIN)
        begin, end = _validity(ssl.PEM_cert_to_DER_cert(text[start : text.index(_END, start) + len(_END)] + "\n"))
    except (OSError, ValueError, IndexError):
        return ""
    if now > end:
        return f"the certificate of this client has expired on {end:%Y-%m-%d}"
    return (
        f"the certificate of this client is valid from {begin:%Y-%m-%d}, if this clock is right" if now < begin else ""
    )


def _validity(der: bytes) -> tuple[datetime, datetime]:
    """The dates in an X.509 certificate (RFC 5280, 4.1): behind version, number, algorithm and issuer."""
    _, body, _ = _element(der)
    _, body, _ = _element(body)
    tag, _, rest = _element(body)
    for _ in range(3 if tag == _VERSION else 2):
        _, _, rest = _element(rest)
    tag, dates, _ = _element(rest)
    if tag != _SEQUENCE:
        msg = "not where the dates are"
        raise ValueError(msg)
    tag, first, dates = _element(dates)
    last_tag, last, _ = _element(dates)
    return _time(tag, first), _time(last_tag, last)


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """The first element of some DER: its tag, its content, and what follows it."""
    size, start = der[1], 2
    if size >= _SHORT:
        start += size - _SHORT
        size = int.from_bytes(der[2:start], "big")
    return der[0], der[start : start + size], der[start + size :]


def _time(tag: int, content: bytes) -> datetime:
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(content.decode("ascii"), form).replace(tzinfo=timezone.utc)
