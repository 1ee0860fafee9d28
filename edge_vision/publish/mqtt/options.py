"""What a site file may say about a broker of MQTT."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from edge_vision.core.commands import read_topic
from edge_vision.core.options import Integer, Login, Number, Options, RelativePath, Seconds, Secret
from edge_vision.publish.commands.options import CommandOptions
from edge_vision.publish.mqtt.topic import USUAL, checked_template, topic_of
from edge_vision.publish.sink_options import DurableBase

_MQTT_TLS_PORT: Final = 8883


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


class MqttOptions(DurableBase, Login):
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
