"""What an MQTT broker refuses: for now, for good, a topic, a status, everything."""

import pytest
from mqtt_server import PUBLISH, WELCOME, Dialog, accept_all, puback, scripted_broker
from mqtt_sinks import WITH_STATUS, Told, mqtt_options, numbered

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.sink import open_mqtt
from edge_vision.testing.fakes import make_message


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


@pytest.mark.parametrize("reason", [0x97, 0x80, 0x83])
def test_a_refusal_for_now_is_not_one_for_good(reason: int, told: Told) -> None:
    """QUOTA EXCEEDED and the like: the message is not delivered, not dropped, and sent again."""
    one = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, reason if mid == 2 else 0)))
    with (
        one as (port, _),
        pytest.raises(SinkError, match="takes no more messages for now") as caught,
        open_mqtt(mqtt_options(port), told.opening()) as sink,
    ):
        sink.send(numbered(3))
    assert caught.value.delivered == 1
    assert told.dropped == []


def test_a_refusal_for_good_drops_that_message_only(told: Told) -> None:
    """Not allowed on a topic: told with the broker's reason; the others are delivered."""
    one = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, 0x87 if mid == 2 else 0x10)))
    with one as (port, _), open_mqtt(mqtt_options(port), told.opening()) as sink:
        sink.send(numbered(3))
    assert told.dropped == [("m1", "refused by the broker: Not authorized")]


def test_a_status_that_is_refused_is_told_once_where_others_pass(told: Told) -> None:
    """Refused when the connection is made and again in its turn: dropped, not delivered, and counted there only."""
    broker = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, 0x87 * (mid != 2))))
    with broker as (port, _), open_mqtt(mqtt_options(port, **WITH_STATUS), told.opening()) as sink:
        assert told.dropped == []
        sink.send([*numbered(1), told.newest])
    assert [name for name, _ in told.dropped] == [told.newest.id]


def test_a_topic_that_is_refused_is_left_alone_for_a_while(told: Told) -> None:
    """Some brokers end the connection at what is not allowed: the others' messages must not wait for that each time."""
    forbidden = [make_message(seq, source="bad") for seq in (1, 2)]

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        packets = [packet for packet in (dialog.read() for _ in range(2 if dialog.number else 3)) if packet]
        for packet in packets:
            dialog.say(puback(packet.mid, 0x87 if "/bad/" in packet.topic else 0))
            if "/bad/" in packet.topic:
                return
        dialog.read()

    opening = told.opening()
    with scripted_broker(script) as (port, dialogs):
        with pytest.raises(SinkError, match="connection lost"), open_mqtt(mqtt_options(port), opening) as sink:
            sink.send([forbidden[0], *numbered(2)])
        with open_mqtt(mqtt_options(port), opening) as sink:
            sink.send([*numbered(2), forbidden[1]])
    assert [packet.topic for packet in dialogs[1].seen if packet.type == PUBLISH] == [make_message().topic] * 2
    assert [name for name, _ in told.dropped] == [message.id for message in forbidden]


def test_a_message_that_ends_the_connection_is_dropped_when_it_was_alone(told: Told) -> None:
    """A broker that says goodbye with NOT AUTHORIZED means the one message under way; of several, who knows which."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        for _ in range(1 if dialog.number else 3):
            dialog.read()
        dialog.say(b"\xe0\x05\x87\x03\x1f\x00\x00")
        dialog.read()

    with scripted_broker(script) as (port, _):
        for count, dropped in ((3, []), (1, ["m0"])):
            opened = open_mqtt(mqtt_options(port), told.opening())
            with opened as sink, pytest.raises(SinkError, match="disconnected: Not authorized") as caught:
                sink.send(numbered(count))
            assert caught.value.patience_s == 0.0
            assert [name for name, _ in told.dropped] == dropped


@pytest.mark.parametrize("closes", [False, True])
def test_when_everything_is_refused_nothing_is_dropped(closes: bool, told: Told) -> None:
    """Not even the status is taken: that is a setting, to be mended, and the messages wait for it."""
    given = {"username": "edge", **WITH_STATUS}

    def script(dialog: Dialog) -> None:
        if not closes:
            accept_all(dialog, answer=lambda mid: puback(mid, 0x87))
            return
        dialog.read()
        dialog.say(WELCOME)
        packet = dialog.read()
        assert packet is not None
        dialog.say(puback(packet.mid, 0x87))

    with (
        scripted_broker(script) as (port, _),
        pytest.raises(SinkError) as caught,
        open_mqtt(mqtt_options(port, **given), told.opening()) as sink,
    ):
        sink.send(numbered(3))
    assert (caught.value.delivered, told.dropped) == (0, [])
    assert caught.value.patience_s >= 60
    text = str(caught.value)
    assert "takes nothing from user 'edge': Not authorized" in text
    assert "such as topic edge-vision/v1/test/status" in text
    assert "asked again only every 60 to 300 s" in text
