"""What may be written of a web server: its address, and headers to send to it."""

import ipaddress
import re
from typing import Annotated, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from edge_vision.core.options import Secret

HEADER_TEXT: Final = r"[!-~]([\t -~]{0,4094}[!-~])?"
"""What the value of a header may be: visible ASCII, with blanks inside."""
_ADDRESS: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?([/?][!-\"$-~]*)?")
_SHORTEST: Final = 8
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive",
     "te", "trailer", "upgrade", "expect", "accept-encoding", "user-agent"}
)  # fmt: skip
_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})


def origin_of(url: str) -> str:
    """An address as logs may have it: the path of a webhook is often a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def hidden_in(url: str) -> list[str]:
    """What a server may repeat of an address, and nobody else: its path and query, whole and in parts, as sent or read.

    Parts of up to seven letters, such as `hooks`, are no secrets.
    """
    parts = urlsplit(url)
    wholes = [f"{parts.path}?{parts.query}", parts.path, parts.query]
    found = [one for one in (*wholes, *re.split("[/?&=;]", wholes[0])) if len(one) >= _SHORTEST]
    return list(dict.fromkeys([*found, *map(unquote, found)]))


def why_readable(url: str) -> str:
    """Why others can read what is posted to an address; empty where none can, or none is there."""
    parts = urlsplit(url)
    if parts.scheme != "http" or _is_this_machine(parts.hostname or ""):
        return ""
    return "http to another machine is for all to read: write https, or plain: true where that may be"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _web_address(url: str) -> str:
    if not _ADDRESS.fullmatch(url):
        if "@" in url:
            msg = "credentials inside a URL end up in logs: write headers: {Authorization: {env: VARIABLE}} beside url"
            raise ValueError(msg)
        msg = "must be https://HOST[:PORT]/PATH, or http, in plain ASCII and without a #fragment"
        raise ValueError(msg)
    if urlsplit(url).port == 0:  # raises ValueError by itself above 65535
        msg = "port 0 is not one of 1 to 65535"
        raise ValueError(msg)
    return url


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", name):
        msg = "is no name of a header"
        raise ValueError(msg)
    return name


def _header_text(text: str) -> str:
    if not re.fullmatch(HEADER_TEXT, text):
        msg = "must be visible ASCII, with blanks inside only"
        raise ValueError(msg)
    return text


def _headers_that_are_free(headers: dict[str, str | Secret]) -> dict[str, str | Secret]:
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if names.count(name.lower()) > 1:
            msg = f"{name} is listed twice"
            raise ValueError(msg)
        if name.lower() in _OURS or name.lower().startswith("x-edge-vision-"):
            msg = f"{name} is set by the sink itself"
            raise ValueError(msg)
        if name.lower() in _SECRET and isinstance(value, str):
            msg = f"{name} is a secret: write {{env: VARIABLE}}, {{file: PATH}} or {{credential: NAME}}"
            raise ValueError(msg)
    return headers


WebAddress: TypeAlias = Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]
"""An address of a web server, without credentials in it."""

_Name: TypeAlias = Annotated[str, AfterValidator(_header_name)]
_Text: TypeAlias = Annotated[str, AfterValidator(_header_text)]
Headers: TypeAlias = Annotated[
    dict[_Name, _Text | Secret], Field(max_length=32), AfterValidator(_headers_that_are_free)
]
"""Headers by name; those that are secrets by nature are references."""
