"""An MQTT sink, what it is given, and what it tells whoever opened it."""

from dataclasses import replace
from typing import Any

from edge_vision.core.message import Message
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_message


class Told:
    """What a sink tells whoever opened it."""

    def __init__(self) -> None:
        self.dropped: list[tuple[str, str]] = []
        self.forgotten = 0
        self.wire = Wire("test", "boot", SystemClock())
        self.newest = self.wire.status("online", {})

    def opening(self) -> SinkOpening:
        """For `open_mqtt`."""
        return SinkOpening(
            "test",
            SystemClock(),
            self.wire.will(),
            lambda: self.newest,
            on_dropped=lambda message, reason: self.dropped.append((message.id, reason)),
            forgotten=self._forget,
        )

    def _forget(self) -> None:
        self.forgotten += 1


def mqtt_options(port: int, **given: Any) -> MqttOptions:
    """Options of a sink for a broker on a loopback port; without status unless asked for."""
    standard = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 5.0, "kinds": ["detections"]}
    return MqttOptions.model_validate({**standard, **given})


WITH_STATUS = {"kinds": ["detections", "status"]}


def numbered(count: int) -> list[Message]:
    """Messages with their place in the id."""
    return [replace(make_message(place + 1), id=f"m{place}") for place in range(count)]
