"""Where ZeroMQ sockets listen, and keys as they are written: what a site file may say of both."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo

from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.options import beside_its_file

_HIGHEST_PORT: Final = 65_535
_LONGEST_SOCKET_PATH: Final = 107
"""Bytes that the address of a UNIX socket has for its path (unix(7))."""
_Z85: Final = {
    letter: value
    for value, letter in enumerate(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    )
}
_KEY_LETTERS: Final = 40
_GROUP: Final = 5
_MOST_CLIENTS: Final = 10_000
_LARGEST_FILE: Final = 1_000_000


def _a_port_or_a_path(bind: str, info: ValidationInfo) -> str:
    scheme, _, rest = bind.partition("://")
    if scheme == "ipc":
        path = beside_its_file(Path(rest), info)
        if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
            msg = f"the path of a socket may have {_LONGEST_SOCKET_PATH} bytes, not {len(str(path).encode())}: {path}"
            raise ValueError(msg)
        return f"ipc://{path}"
    port = rest.rpartition(":")[2]
    if port != "*" and not 1 <= int(port) <= _HIGHEST_PORT:  # ZeroMQ would take it modulo 65536
        msg = f"port {port} is not one of 1 to {_HIGHEST_PORT}"
        raise ValueError(msg)
    return bind


BindAddress: TypeAlias = Annotated[
    str, Field(pattern=r"^(tcp://[^\s@]+:(\d{1,5}|\*)|ipc://\S+)$"), AfterValidator(_a_port_or_a_path)
]
"""tcp://ADDRESS:PORT or ipc://PATH; a relative path starts from the folder of the site file."""


def reaches_out(bind: str) -> bool:
    """Whether other machines can reach an address: TCP anywhere but on the loopback interface."""
    scheme, _, rest = bind.partition("://")
    host = rest.rpartition(":")[0].strip("[]")
    if scheme != "tcp" or host in {"localhost", "lo"}:
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:  # * is every interface; a name is that of one
        return True


def why_no_key(text: str) -> str:
    """Why a text is no CURVE key, or nothing. The text itself is not repeated: it may be a secret."""
    if len(text) != _KEY_LETTERS:
        return f"a key has {_KEY_LETTERS} characters, not {len(text)}"
    values = [_Z85.get(letter) for letter in text]
    number = 0
    for place, value in enumerate(values):
        if value is None:
            return f"character {place + 1} is none of Z85 (ZeroMQ's RFC 32)"
        number = number * len(_Z85) + value if place % _GROUP else value
        if place % _GROUP == _GROUP - 1 and number >= 1 << 32:
            return f"characters {place - _GROUP + 2} to {place + 1} are no number of 32 bits in Z85 (ZeroMQ's RFC 32)"
    return ""


def _a_key(text: str) -> str:
    if why := why_no_key(text):
        raise ValueError(why)
    return text


PublicKey: TypeAlias = Annotated[str, AfterValidator(_a_key)]
"""A public key as `edge-vision keys` prints it: 40 characters, to be quoted in YAML."""


def read_clients(file: Path) -> frozenset[str]:
    """The public keys of a file: one per line; what stands behind a blank is for people, as is a line with # in front.

    Raises ConfigError for a file that cannot be read, has no key, or a line without one.
    """
    if why := why_not_file(file):  # a pipe in its place would never end
        raise ConfigError(f"{file} cannot be read: {why}")
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"{file} cannot be read: {reason}") from None
    if len(text) > _LARGEST_FILE:
        raise ConfigError(f"{file} has more than {_LARGEST_FILE} bytes")
    keys = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = (line.split() or ["#"])[0]
        if word.startswith("#"):  # no key does
            continue
        if why := why_no_key(word):
            raise ConfigError(f"{file}:{number}: {why}")
        keys.add(word)
    if not keys:
        raise ConfigError(f"{file} has no key")
    if len(keys) > _MOST_CLIENTS:
        raise ConfigError(f"{file} has {len(keys)} keys; {_MOST_CLIENTS} are the most")
    return frozenset(keys)
