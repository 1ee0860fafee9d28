"""What a site file may say about where its messages go."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from edge_vision.core.commands import read_topic
from edge_vision.core.events import KINDS
from edge_vision.core.options import Integer, Login, Number, Options, RelativePath, Seconds, Secret, beside_its_file
from edge_vision.core.schema_errors import did_you_mean, shown
from edge_vision.publish.commands_options import CommandOptions, ZeromqCommandOptions
from edge_vision.publish.mqtt_topic import USUAL, checked_template, topic_of

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
            msg = "status is about now: it goes to MQTT and ZeroMQ only"
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


class ZeromqOptions(_SinkOptions):
    """A ZeroMQ PUB socket; each message has two frames, topic and body."""

    kind: Literal["zeromq"]
    bind: str = Field(
        pattern=r"^(tcp://[^\s@]+:(\d{1,5}|\*)|ipc://\S+)$",
        description="Where to listen: tcp://ADDRESS:PORT or ipc://PATH.",
    )

    @field_validator("bind")
    @classmethod
    def _a_port_or_a_path(cls, bind: str, info: ValidationInfo) -> str:
        scheme, _, rest = bind.partition("://")
        if scheme == "ipc":
            return f"ipc://{beside_its_file(Path(rest), info)}"
        port = rest.rpartition(":")[2]
        if port != "*" and not 1 <= int(port) <= _HIGHEST_PORT:  # ZeroMQ would take it modulo 65536
            msg = f"port {port} is not one of 1 to {_HIGHEST_PORT}"
            raise ValueError(msg)
        return bind

    high_water_mark: Integer = Field(
        10_000, ge=1, le=1_000_000, description="Messages kept for a slow subscriber; it loses what is beyond."
    )
    commands: ZeromqCommandOptions | None = Field(
        None, description="Commands that are taken on a socket of their own; none if not given."
    )


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


class TerminalOptions(_SinkOptions):
    """A live view in the terminal: rate, latency and the last detections of each source, and the last events."""

    holds_status: ClassVar[bool] = False
    kind: Literal["terminal"]


SinkOptions: TypeAlias = Annotated[
    JsonlOptions | ZeromqOptions | MqttOptions | TerminalOptions, Field(discriminator="kind")
]
