"""What a site file may say about who may command the site."""

import ipaddress
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from edge_vision.core.commands import CommandName
from edge_vision.core.options import Options, beside_its_file

_HIGHEST_PORT: Final = 65_535


class CommandOptions(Options):
    """Commands that are taken there; a site without this section takes none."""

    allow: tuple[CommandName, ...] = Field(min_length=1, description="Commands that are carried out there.")

    @field_validator("allow")
    @classmethod
    def _each_once(cls, allow: tuple[CommandName, ...]) -> tuple[CommandName, ...]:
        double = next((name for name in allow if allow.count(name) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        return allow


class ZeromqCommandOptions(CommandOptions):
    """Commands that are taken on a ZeroMQ ROUTER socket."""

    bind: str = Field(
        pattern=r"^(tcp://[^\s@]+:(\d{1,5}|\*)|ipc://\S+)$",
        description="Where to listen: tcp://127.0.0.1:PORT or ipc://PATH.",
    )

    @field_validator("bind")
    @classmethod
    def _a_port_or_a_path(cls, bind: str, info: ValidationInfo) -> str:
        scheme, _, rest = bind.partition("://")
        if scheme == "ipc":
            return f"ipc://{beside_its_file(Path(rest), info)}"
        host, _, port = rest.rpartition(":")
        if port != "*" and not 1 <= int(port) <= _HIGHEST_PORT:
            msg = f"port {port} is not one of 1 to {_HIGHEST_PORT}"
            raise ValueError(msg)
        if not _is_here(host.strip("[]")):
            msg = f"{bind} is reached from other machines: commands are taken at tcp://127.0.0.1:{port} or ipc://PATH"
            raise ValueError(msg)
        return bind


def _is_here(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"localhost", "lo"}
