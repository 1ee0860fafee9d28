"""A running audit, its report, and whoever publishes to it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from conftest import wait_until
from paho.mqtt.enums import CallbackAPIVersion

TOPIC = "edge-vision/v1/test/line/count"


@contextmanager
def publisher(port: int, tls: tuple[Path, str] | None = None) -> Iterator[Callable[..., None]]:
    """Publishes bodies with QoS 1, and waits until the broker has them."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(200)
    if tls is not None:
        pem, password = tls
        client.tls_set(str(pem), str(pem), str(pem))
        client.username_pw_set("auditor", password)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish(*bodies: bytes, topic: str = TOPIC, retain: bool = False) -> None:
        for sent in [client.publish(topic, body, qos=1, retain=retain) for body in bodies]:
            sent.wait_for_publish(60)

    try:
        yield publish
    finally:
        client.disconnect()
        client.loop_stop()


def listening(audit: Any) -> None:
    """Wait until an audit has subscribed."""
    wait_until(lambda: "listening at" in audit.stderr.readline(), 60, "it subscribes")


def report_of(process: Any, timeout_s: float = 60.0) -> dict[str, Any]:
    """The JSON that an audit printed."""
    output, errors = process.communicate(timeout=timeout_s)
    assert output, errors
    report: dict[str, Any] = json.loads(output)
    return report
