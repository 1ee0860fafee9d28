"""What a site file may say about ZeroMQ."""

import logging
import stat
from typing import Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edge_vision.core.errors import ConfigError
from edge_vision.core.options import Integer, Number, Options, RelativePath, Seconds, Secret
from edge_vision.publish.commands.options import ZeromqCommandOptions
from edge_vision.publish.kinds import MessageKind
from edge_vision.publish.sink_options import SinkBase
from edge_vision.publish.zeromq.addresses import BindAddress, PublicKey, reaches_out, read_clients, why_no_key

_log = logging.getLogger(__name__)


class CurveOptions(Options):
    """CURVE: what is sent is encrypted, and only clients whose public key is listed get anything."""

    secret_key: Secret = Field(
        description="Where the site's secret key is (edge-vision keys): {env|file|credential: NAME}."
    )
    clients: tuple[PublicKey, ...] | None = Field(
        None, min_length=1, max_length=1000, description="Public keys of those who may connect."
    )
    clients_file: RelativePath | None = Field(
        None, description="File with such keys, one per line; read again when it changes, for who connects then."
    )

    @model_validator(mode="after")
    def _one_list_of_clients(self) -> "CurveOptions":
        if (self.clients is None) == (self.clients_file is None):
            msg = "give either clients (public keys) or clients_file (a file with one per line)"
            raise ValueError(msg)
        return self

    def secret(self) -> bytes:
        """The secret key. Raises ConfigError that does not repeat it."""
        key = self.secret_key.reveal()
        if why := why_no_key(key):
            msg = f"secret_key: {why}"
            raise ConfigError(msg)
        return key.encode()

    def warn_of_modes(self) -> None:
        """Say in the log which files every user of the machine may use. No error: containers mount secrets so."""
        key, clients = self.secret_key.file, self.clients_file
        if key is not None and (mode := key.stat().st_mode) & (stat.S_IROTH | stat.S_IWOTH):
            text = "%s has the mode %04o: every user of this machine may read or change the secret key; chmod 600"
            _log.warning(text, key, stat.S_IMODE(mode))
        if clients is not None and (mode := clients.stat().st_mode) & stat.S_IWOTH:
            text = "%s has the mode %04o: every user of this machine may change it, and so let himself in; chmod 644"
            _log.warning(text, clients, stat.S_IMODE(mode))


class ReplayOptions(Options):
    """A ROUTER socket that serves what a subscriber missed, also of earlier runs of the process."""

    bind: BindAddress = Field(description="Where to listen: tcp://ADDRESS:PORT or ipc://PATH.")
    keep_s: Number = Field(600.0, ge=1, le=31_536_000, description="How long messages are kept for it, in seconds.")
    kinds: tuple[MessageKind, ...] | None = Field(
        None, min_length=1, description="Kinds of messages that are kept; all but detections if not given."
    )

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        double = next((kind for kind in kinds or () if (kinds or ()).count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        return kinds


class ZeromqOptions(SinkBase):
    """A ZeroMQ PUB socket; each message has two frames, topic and body."""

    kind: Literal["zeromq"]
    curve: CurveOptions | None = Field(None, description="Encryption, and who may listen; needed beyond this machine.")
    plain: bool = Field(
        default=False,
        description="Without curve beyond this machine: unencrypted, and open to everybody who reaches the port.",
    )
    bind: BindAddress = Field(description="Where to listen: tcp://ADDRESS:PORT or ipc://PATH.")
    high_water_mark: Integer = Field(
        10_000, ge=1, le=1_000_000, description="Messages kept for a slow subscriber; it loses what is beyond."
    )
    heartbeat_s: Seconds = Field(
        2.0, ge=0.5, description="How often the last numbers are told, so that a silent subscriber notices a loss."
    )
    replay: ReplayOptions | None = Field(None, description="A socket that serves what a subscriber missed.")
    commands: ZeromqCommandOptions | None = Field(
        None, description="Commands that are taken on a socket of their own; none if not given."
    )

    @field_validator("plain")
    @classmethod
    def _not_beside_curve(cls, plain: bool, info: ValidationInfo) -> bool:
        if plain and info.data.get("curve") is not None:
            msg = "curve encrypts: leave plain out"
            raise ValueError(msg)
        return plain

    @field_validator("bind")
    @classmethod
    def _meant_for_others(cls, bind: str, info: ValidationInfo) -> str:
        _refuse_unprotected(bind, info)
        return bind

    @field_validator("replay")
    @classmethod
    def _replay_meant_for_others(cls, replay: ReplayOptions | None, info: ValidationInfo) -> ReplayOptions | None:
        if replay is not None:
            _refuse_unprotected(replay.bind, info)
            if replay.bind == info.data.get("bind") and not replay.bind.endswith(":*"):
                msg = f"bind {replay.bind} is that of the sink: two sockets need two addresses"
                raise ValueError(msg)
        return replay

    @field_validator("commands")
    @classmethod
    def _commands_from_known_senders(
        cls, commands: ZeromqCommandOptions | None, info: ValidationInfo
    ) -> ZeromqCommandOptions | None:
        if commands is not None and "curve" in info.data and info.data["curve"] is None and reaches_out(commands.bind):
            msg = (
                f"{commands.bind} is reached from other machines, and whoever does could command: give curve: with keys"
            )
            raise ValueError(msg)
        return commands

    def keeps(self, kind: str) -> bool:
        """Whether messages of a kind are kept for the replay socket."""
        if self.replay is None or not self.takes(kind):
            return False
        return kind != "detections" if self.replay.kinds is None else kind in self.replay.kinds

    @property
    def keep_s(self) -> float:
        """How long they are kept, in seconds; 0 without a replay socket."""
        return 0.0 if self.replay is None else self.replay.keep_s

    def check_secrets(self) -> None:
        """Read the keys, for a start that fails when they cannot be. Raises ConfigError that names no secret."""
        if self.curve is None:
            return
        try:
            self.curve.secret()
            if self.curve.clients_file is not None:
                read_clients(self.curve.clients_file)
            self.curve.warn_of_modes()
        except ConfigError as error:
            msg = f"{self.bind}: curve: {error}"
            raise ConfigError(msg) from None


def _refuse_unprotected(bind: str, info: ValidationInfo) -> None:
    """Refuse an address that others reach, where nothing protects it and nobody said that it is meant so."""
    if not {"curve", "plain"} <= set(info.data):  # wrong themselves
        return
    if reaches_out(bind) and info.data["curve"] is None and not info.data["plain"]:
        msg = (
            f"{bind} is reached from other machines: give curve: with keys (edge-vision keys), "
            "or say plain: true, which is unencrypted and open to everybody who reaches the port"
        )
        raise ValueError(msg)
