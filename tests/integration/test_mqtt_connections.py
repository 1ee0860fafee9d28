"""Connections of an MQTT sink: what each begins with, versions, and who ends them."""

import select
from contextlib import suppress
from typing import Any

import pytest
from listeners import mqtt_listener
from mqtt_server import WELCOME, Dialog, scripted_broker
from mqtt_sinks import WITH_STATUS, Told, mqtt_options, numbered
from servers import Broker

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.client import MqttClient
from edge_vision.publish.mqtt.sink import open_mqtt

STATUS = "edge-vision/v1/test/status"


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


def test_a_broker_of_another_version_is_asked_once(told: Told) -> None:
    """Paho by itself would try older versions of MQTT, connection after connection, behind our back."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(b"\x20\x02\x00\x01")
        dialog.read()

    with scripted_broker(script) as (port, dialogs):
        for protocol in ("5", "3.1.1"):
            opened = open_mqtt(mqtt_options(port, protocol=protocol), told.opening())
            with pytest.raises(SinkError) as caught:
                opened.__enter__()
            hint = "set protocol to the version that it speaks" if protocol == "5" else "check port, protocol and tls"
            assert hint in str(caught.value)
            assert caught.value.patience_s >= 15
        assert len(dialogs) == 2


def test_whatever_paho_stumbles_over_is_a_sink_error(
    broker: Broker, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came from the network; the outlet retries, and writes no traceback."""

    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    with open_mqtt(mqtt_options(broker.port), told.opening()) as sink:
        monkeypatch.setattr(MqttClient, "loop_misc", stumble)
        with pytest.raises(SinkError, match="not MQTT of this version"):
            sink.send(numbered(1))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_both_versions_of_mqtt(protocol: str, broker: Broker, told: Told) -> None:
    """Messages arrive, the status is retained, and an orderly end sends no last will."""
    told.newest = told.wire.status("online", {})
    given = {"protocol": protocol, **WITH_STATUS}
    with mqtt_listener(broker.port) as heard:
        with open_mqtt(mqtt_options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(100))
        heard.wait_for("edge-vision/v1/test/cam/detections", 100)
        heard.wait_for(STATUS, 1)
        with open_mqtt(mqtt_options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(1))
        heard.wait_for(STATUS, 2)
    assert told.forgotten == 1, "the second time the broker knew the session"
    broker.kill()
    broker.start()
    with open_mqtt(mqtt_options(broker.port, **given), told.opening()) as sink:
        sink.send(numbered(1))
    assert told.forgotten == 2, "it lost its memory when it was killed"
    with mqtt_listener(broker.port) as later:
        later.wait_for(STATUS, 1)
        assert [status["state"] for status in later.on(STATUS)] == ["online"]


def test_a_client_that_is_thrown_out_by_another_of_its_name(told: Told) -> None:
    """It hears why, and does not come back at once to throw out the other."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME + b"\xe0\x05\x8e\x03\x1f\x00\x00")
        dialog.read()

    with scripted_broker(script) as (port, _), open_mqtt(mqtt_options(port), told.opening()) as sink:
        with pytest.raises(SinkError, match="another client uses the same client_id") as caught:
            sink.send(numbered(1))
        assert caught.value.patience_s == 60.0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_the_broker_said_last_is_heard_also_when_writing_fails_first(
    told: Told, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It throws the client out while a window of messages is written; MQTT 3.1.1 has no word for that."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME if protocol == "5" else b"\x20\x02\x00\x00")
        dialog.read()
        if protocol == "5":
            dialog.say(b"\xe0\x02\x8e\x00")

    publish = MqttClient.publish

    def publish_slowly(client: MqttClient, *given: Any, **more: Any) -> Any:
        info = publish(client, *given, **more)
        sock = client.socket()
        if sock is not None:
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLRDHUP)
            assert poll.poll(5000), "the broker has left"
        return info

    monkeypatch.setattr(MqttClient, "publish", publish_slowly)
    with (
        scripted_broker(script) as (port, _),
        open_mqtt(mqtt_options(port, protocol=protocol), told.opening()) as sink,
        pytest.raises(SinkError) as caught,
    ):
        sink.send(numbered(8))
    words, patience_s = {"5": ("another client uses the same client_id", 60.0), "3.1.1": ("connection lost", 0.0)}[
        protocol
    ]
    assert words in str(caught.value)
    assert caught.value.patience_s == patience_s


def test_who_let_us_in_before_and_hangs_up_now_is_asked_again_soon(told: Told) -> None:
    """A proxy whose broker is away takes the connection and ends it; at the first start, it is perhaps a wrong port."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        if dialog.number == 1:
            dialog.say(WELCOME)

    opening = told.opening()
    with scripted_broker(script) as (port, _):
        for patience_s in (15.0, None, 0.0):
            if patience_s is None:
                with suppress(SinkError), open_mqtt(mqtt_options(port), opening):
                    continue
            with pytest.raises(SinkError, match="without an answer") as caught, open_mqtt(mqtt_options(port), opening):
                pass
            assert caught.value.patience_s == patience_s
