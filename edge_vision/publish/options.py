"""What a site file may say about where its messages go."""

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from edge_vision.core.commands import read_topic
from edge_vision.core.errors import ConfigError
from edge_vision.core.events import KINDS
from edge_vision.core.options import Integer, Login, Number, Options, RelativePath, Seconds, Secret
from edge_vision.core.schema_errors import did_you_mean, shown
from edge_vision.publish.commands_options import CommandOptions, ZeromqCommandOptions
from edge_vision.publish.http_address import Headers, WebAddress, origin_of, why_readable
from edge_vision.publish.mqtt_topic import USUAL, checked_template, topic_of
from edge_vision.publish.zeromq_addresses import BindAddress, PublicKey, reaches_out, read_clients, why_no_key

_HIGHEST_PORT: Final = 65_535
_MQTT_TLS_PORT: Final = 8883

MESSAGE_KINDS: Final = ("detections", "status", "gap", "evidence", *KINDS)
"""Every kind of message there is."""


def _known_kind(kind: str) -> str:
    if kind not in MESSAGE_KINDS:
        msg = f"unknown kind of message {shown(kind)}{did_you_mean(kind, MESSAGE_KINDS)}"
        raise ValueError(msg)
    return kind


MessageKind: TypeAlias = Annotated[
    str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": [*MESSAGE_KINDS]})
]
"""Detections, status, gap, evidence, or a kind of event."""


class _SinkOptions(Options):
    holds_status: ClassVar[bool] = True
    kinds: tuple[MessageKind, ...] | None = Field(
        None, min_length=1, description="Kinds of messages that go there, such as line_crossed; all if not given."
    )

    @field_validator("kinds")
    @classmethod
    def _kinds_that_it_takes(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        double = next((kind for kind in kinds or () if (kinds or ()).count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        if kinds is not None and "status" in kinds and not cls.holds_status:
            msg = "status is about now: it goes to MQTT, ZeroMQ and HTTP only"
            raise ValueError(msg)
        return kinds

    def takes(self, kind: str) -> bool:
        """Whether messages of a kind go there."""
        return self.kinds is None or kind in self.kinds

    queue_mb: Number = Field(
        32.0, gt=0, le=4096, description="Memory for messages that wait, in MB; when full, the oldest are dropped."
    )


class _DurableOptions(_SinkOptions):
    """A sink that acknowledges: what it must not lose waits on disk until it has."""

    durable: tuple[MessageKind, ...] | None = Field(
        None, description="Kinds that wait on disk until they are delivered; all but detections if not given."
    )

    @field_validator("durable")
    @classmethod
    def _each_once(cls, durable: tuple[str, ...] | None) -> tuple[str, ...] | None:
        double = next((kind for kind in durable or () if (durable or ()).count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        return durable

    def owes(self, kind: str) -> bool:
        """Whether messages of a kind may not be lost on their way there. A gap may not where anything may not."""
        if kind == "gap":
            return self.durable != () and (self.kinds is None or "gap" in self.kinds)
        return self.takes(kind) and (kind != "detections" if self.durable is None else kind in self.durable)


class OutboxOptions(Options):
    """What waits on disk for its delivery; beyond either limit the oldest are dropped, counted and told."""

    max_mb: Number = Field(512.0, ge=1, le=1_000_000, description="Disk for messages, in MB.")
    max_age_h: Number = Field(
        168.0, gt=0, le=87_600, description="Hours that a message may wait, of those in which the daemon runs."
    )


class JsonlOptions(_SinkOptions):
    """JSON lines: one message per line, appended to a file. Status is not written: it is about now."""

    holds_status: ClassVar[bool] = False
    kind: Literal["jsonl"]
    path: RelativePath = Field(description='The file, or "-" for standard output.')


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


class ZeromqOptions(_SinkOptions):
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


def _number_as_text(value: Any) -> Any:
    """YAML takes a version such as 5 or 1.3 for a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class MqttTls(Options):
    """An encrypted connection; the broker's certificate is always verified, and its name."""

    ca_file: RelativePath | None = Field(
        None, description="Certificates of the authorities that are trusted, as PEM; the system's if not given."
    )
    certificate: RelativePath | None = Field(None, description="Certificate of this client, as PEM.")
    key: RelativePath | None = Field(None, description="Its private key; in the certificate's file if not given.")
    key_password: Secret | None = Field(None, description="Where the key's password is: {env|file|credential: NAME}.")
    minimum_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(_number_as_text)] = Field(
        "1.2", description="Oldest version of TLS that is spoken."
    )
    server_name: str | None = Field(
        None, min_length=1, max_length=253, description="Name in the broker's certificate; the host if not given."
    )

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> "MqttTls":
        for name in ("key", "key_password"):
            if getattr(self, name) is not None and self.certificate is None:
                msg = f"{name} needs a certificate beside it"
                raise ValueError(msg)
        return self


class MqttOptions(_DurableOptions, Login):
    """An MQTT broker, with QoS 1, a last will and a retained status; without them where `kinds` leaves status out."""

    kind: Literal["mqtt"]
    host: str = Field(pattern=r"^[^\s/@]+$", description="Name or address of the broker.")
    port: Integer = Field(1883, ge=1, le=65535, description="Its port; 8883 if not given and `tls` is.")
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(_number_as_text)] = Field(
        "5", description="Version of MQTT; with 3.1.1 a broker cannot say that it refuses a message."
    )
    tls: MqttTls | None = Field(None, description="Encrypt the connection; {} trusts the system's authorities.")
    client_id: str | None = Field(None, min_length=1, max_length=128, description="edge-vision-SITE if not given.")
    topic: Annotated[str, AfterValidator(checked_template)] = Field(
        USUAL, min_length=1, description="Topic of each message, made from {site}, {source} and {kind}."
    )
    keepalive_s: Integer = Field(15, ge=5, le=3600, description="After 1.5 times this silence the last will is sent.")
    timeout_s: Seconds = Field(10.0, description="How long the broker may take to accept, or to acknowledge any more.")
    inflight: Integer = Field(64, ge=1, le=1000, description="Messages sent before the first must be acknowledged.")
    session_expiry_s: Integer = Field(
        3600, ge=0, le=4_294_967_294, description="How long the broker remembers this client; 0: not at all."
    )
    resend_s: Number = Field(
        60.0, ge=0, le=86_400, description="What was acknowledged this recently is sent again to a broker that forgot."
    )
    message_expiry_s: Integer | None = Field(
        None, ge=1, le=4_294_967_295, description="When the broker drops a message nobody fetched; never if not given."
    )
    commands: CommandOptions | None = Field(
        None, description="Commands that are taken from this broker; none if not given."
    )

    @model_validator(mode="after")
    def _messages_are_no_commands(self) -> "MqttOptions":
        if self.commands is None:
            return self
        if any(read_topic("site", topic_of(self.topic, "site", source, "kind")) for source in ("", "source")):
            msg = "topic puts messages where commands are taken, below set: choose another topic"
            raise ValueError(msg)
        return self

    @model_validator(mode="before")
    @classmethod
    def _port_of_tls(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("tls") is not None and "port" not in given:
            return {**given, "port": _MQTT_TLS_PORT}
        return given

    @model_validator(mode="after")
    def _fits_its_protocol(self) -> "MqttOptions":
        if self.protocol == "3.1.1" and self.message_expiry_s is not None:
            msg = "message_expiry_s needs protocol 5: MQTT 3.1.1 has no such thing"
            raise ValueError(msg)
        return self


class HttpSinkOptions(_DurableOptions):
    """A webhook: messages are posted to an address, signed; an answer of 2xx says that they have arrived."""

    kind: Literal["http"]
    url: WebAddress = Field(description="Address to post to, https://HOST[:PORT]/PATH.")
    plain: bool = Field(False, description="Whether another machine may be spoken to over http, for all to read.")
    secret: Secret | None = Field(
        None,
        description="Where the key of the signature (HMAC-SHA256) is: {env|file|credential: NAME}; none: no signature.",
    )
    headers: Headers = Field(
        default_factory=dict, description="Headers to send as well; the value is text or where it is."
    )
    timeout_s: Seconds = Field(10.0, description="How long one post may take, from connecting to the whole answer.")
    batch: Integer = Field(
        1, ge=1, le=1000, description="Most messages in one post: 1 posts the message itself, more a JSON array."
    )
    ca_file: RelativePath | None = Field(
        None, description="Certificates (PEM) to trust; those of the system if not given."
    )
    certificate: RelativePath | None = Field(
        None, description="Certificate (PEM) to show to the server, with what it is signed by."
    )
    key: RelativePath | None = Field(
        None, description="Its private key (PEM), not encrypted; in the certificate's file if not given."
    )

    @property
    def shown_url(self) -> str:
        """The address as logs may have it: without its path."""
        return origin_of(self.url)

    @field_serializer("url", when_used="json")
    def _dump_url(self, _url: str) -> str:
        return self.shown_url

    @model_validator(mode="after")
    def _not_in_the_clear_by_mistake(self) -> "HttpSinkOptions":
        if self.key is not None and self.certificate is None:
            msg = "a key needs its certificate beside it"
            raise ValueError(msg)
        if self.url.startswith("http:") and (self.ca_file is not None or self.certificate is not None):
            msg = f"{'certificate' if self.ca_file is None else 'ca_file'} is for https; the url says http"
            raise ValueError(msg)
        if not self.plain and (why := why_readable(self.url)):
            raise ValueError(why)
        return self


class TerminalOptions(_SinkOptions):
    """A live view in the terminal: rate, latency and the last detections of each source, and the last events."""

    holds_status: ClassVar[bool] = False
    kind: Literal["terminal"]


SinkOptions: TypeAlias = Annotated[
    JsonlOptions | ZeromqOptions | MqttOptions | HttpSinkOptions | TerminalOptions, Field(discriminator="kind")
]
