"""The MQTT sink and its broker, packet by packet: how many messages are under way, and what is acknowledged."""

from typing import Any

import pytest
from listeners import mqtt_listener
from mqtt_server import DISCONNECT, WELCOME, Dialog, puback, scripted_broker
from mqtt_sinks import WITH_STATUS, Told, mqtt_options, numbered
from servers import Broker

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.sink import open_mqtt


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


def test_the_window_slides(told: Told) -> None:
    """Each acknowledgement lets one more message go; never are more than `inflight` under way."""
    waiting: list[int] = []

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        queue = [packet.mid for packet in (dialog.read() for _ in range(4)) if packet]
        dialog.sock.settimeout(0.3)
        assert dialog.read() is None, "a fifth message, unasked for"
        dialog.sock.settimeout(60)
        for _ in range(16):
            dialog.say(puback(queue.pop(0)))
            packet = dialog.read()
            assert packet is not None
            queue.append(packet.mid)
            waiting.append(len(queue))
        for mid in queue:
            dialog.say(puback(mid))
        dialog.read()

    with scripted_broker(script) as (port, _), open_mqtt(mqtt_options(port, inflight=4), told.opening()) as sink:
        sink.send(numbered(20))
    assert waiting == [4] * 16


def test_the_broker_may_ask_for_a_smaller_window(told: Told) -> None:
    """Its Receive Maximum holds, whatever the site says."""
    most: list[int] = []

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(b"\x20\x06\x00\x00\x03\x21\x00\x02")
        for _ in range(3):
            pair = [dialog.read(), dialog.read()]
            dialog.sock.settimeout(0.2)
            most.append(sum(packet is not None for packet in (*pair, dialog.read())))
            dialog.sock.settimeout(60)
            for packet in pair:
                assert packet is not None
                dialog.say(puback(packet.mid))
        dialog.read()

    with scripted_broker(script) as (port, _), open_mqtt(mqtt_options(port), told.opening()) as sink:
        sink.send(numbered(6))
    assert most == [2, 2, 2]


@pytest.mark.parametrize("silent", [False, True])
def test_a_failure_tells_the_acknowledged_prefix(silent: bool, told: Told) -> None:
    """The first two and the fourth are acknowledged, then the broker leaves or falls silent: two are delivered."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        mids = [packet.mid for packet in (dialog.read() for _ in range(6)) if packet]
        for place in (0, 1, 3):
            dialog.say(puback(mids[place]))
        if silent:
            dialog.read()  # returns when the sink has left

    expected = "3 messages not acknowledged within 2 s" if silent else "connection lost"
    with scripted_broker(script) as (port, dialogs):
        opened = open_mqtt(mqtt_options(port, timeout_s=2), told.opening())
        with pytest.raises(SinkError, match=expected) as caught, opened as sink:
            sink.send(numbered(6))
        assert caught.value.delivered == 2
        assert f"127.0.0.1:{port}: " in str(caught.value)
    assert [packet.type for packet in dialogs[0].seen].count(DISCONNECT) == 0, "the last will must be sent"
    assert told.dropped == []


def test_a_slow_broker_that_goes_on_is_not_silent(told: Told) -> None:
    """The time-out is for the next acknowledgement, not for a whole batch."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        for packet in [dialog.read() for _ in range(5)]:
            assert packet is not None
            dialog.sock.settimeout(0.5)
            assert dialog.read() is None  # nothing comes: a pause
            dialog.sock.settimeout(60)
            dialog.say(puback(packet.mid))
        dialog.read()

    with scripted_broker(script) as (port, _), open_mqtt(mqtt_options(port, timeout_s=2), told.opening()) as sink:
        sink.send(numbered(5))


def test_what_mqtt_5_says_of_a_message(broker: Broker, told: Told) -> None:
    """The content type, and when the broker may drop it; a status is kept for good."""
    found: dict[str, Any] = {}
    with mqtt_listener(broker.port, properties=found) as heard:
        given = {"message_expiry_s": 300, "topic": "plant/{site}/{kind}/{source}", **WITH_STATUS}
        with open_mqtt(mqtt_options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(1))
        heard.wait_for("plant/test/detections/cam", 1)
        heard.wait_for("plant/test/status", 1)
    assert found["plant/test/detections/cam"].ContentType == "application/json"
    assert found["plant/test/detections/cam"].MessageExpiryInterval in (299, 300)
    assert not hasattr(found["plant/test/status"], "MessageExpiryInterval")
