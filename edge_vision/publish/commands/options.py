"""What a site file may say about who may command the site."""

from pydantic import Field, field_validator

from edge_vision.core.commands import CommandName
from edge_vision.core.options import Options
from edge_vision.publish.zeromq.addresses import BindAddress


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

    bind: BindAddress = Field(description="Where to listen: tcp://ADDRESS:PORT or ipc://PATH.")
