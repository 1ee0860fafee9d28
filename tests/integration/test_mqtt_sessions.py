"""What an MQTT broker remembers: sessions, and the retained status."""

from dataclasses import replace
from typing import Any

import pytest
from listeners import mqtt_listener
from mqtt_server import CONNECT, DISCONNECT, PUBLISH, WELCOME, Dialog, accept_all, puback, scripted_broker
from mqtt_sinks import WITH_STATUS, Told, mqtt_options, numbered
from servers import Broker

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.sink import open_mqtt

STATUS = "edge-vision/v1/test/status"


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


@pytest.mark.parametrize(
    "present,given,expected",
    [(0, {}, 1), (1, {}, 0), (0, {"session_expiry_s": 0}, 0), (0, {"resend_s": 0}, 0)],
)
def test_a_broker_that_forgot_the_session_gets_it_again(
    present: int, given: dict[str, Any], expected: int, told: Told
) -> None:
    """Without a session that was asked for, the broker may have lost what it acknowledged: whoever keeps it is told."""
    broker = scripted_broker(lambda dialog: accept_all(dialog, welcome=bytes((0x20, 3, present, 0, 0))))
    with broker as (port, dialogs), open_mqtt(mqtt_options(port, **given), told.opening()) as sink:
        sink.send(numbered(1))
    assert told.forgotten == expected
    connect = dialogs[0].seen[0]
    assert connect.type == CONNECT
    clean = given.get("session_expiry_s") == 0
    assert bool(connect.body[7] & 2) == clean
    assert (b"\x11\x00\x00\x0e\x10" in connect.body) == (not clean)  # the session expires after 3600 s


def test_a_broker_that_keeps_no_sessions_did_not_forget(told: Told) -> None:
    """It says so; else each hiccup of the network would bring the last minute once more."""
    welcome = b"\x20\x08\x00\x00\x05\x11\x00\x00\x00\x00"
    broker = scripted_broker(lambda dialog: accept_all(dialog, welcome=welcome))
    with broker as (port, _), open_mqtt(mqtt_options(port), told.opening()) as sink:
        sink.send(numbered(1))
    assert told.forgotten == 0


def test_what_is_retained_at_the_broker_in_the_end(broker: Broker, told: Told) -> None:
    """Statuses of an earlier run and older ones come behind the newest, in any order: it stays."""
    statuses = [told.newest, *(told.wire.status("online", {}) for _ in range(3))]
    told.newest = statuses[3]
    before = replace(statuses[0], id="before", boot="0", seq=99, body=b'{"seq": 99}')
    with mqtt_listener(broker.port) as heard:
        with open_mqtt(mqtt_options(broker.port, **WITH_STATUS), told.opening()) as sink:
            sink.send([before, *statuses])
            sink.send([before, statuses[1]])
        heard.wait_for(STATUS, 7)
        assert [status["seq"] for status in heard.on(STATUS)] == [4, 99, 1, 2, 3, 99, 2]
    with mqtt_listener(broker.port) as later:
        later.wait_for(STATUS, 1)
        assert [status["seq"] for status in later.on(STATUS)] == [4]


def test_the_retained_status_is_the_newest_and_none_is_left_out(told: Told) -> None:
    """Newest first and retained; older ones and those of another run pass unretained; the same one goes out once."""
    statuses = [told.newest, *(told.wire.status("online", {}) for _ in range(3))]
    told.newest = statuses[2]
    before = replace(statuses[3], id="before", boot="0", seq=99)
    batch = [before, *statuses, *numbered(1)]
    with scripted_broker(accept_all) as (port, dialogs):
        with open_mqtt(mqtt_options(port, **WITH_STATUS), told.opening()) as sink:
            sink.send(batch)
        sent = [packet for packet in dialogs[0].seen if packet.type == PUBLISH]
    told_seqs = [(packet.body[packet.body.index(b'"seq"') :][6:7], packet.retain) for packet in sent[:-1]]
    assert told_seqs == [(b"3", True), (b"4", False), (b"1", False), (b"2", False), (b"4", True)]
    assert [packet.topic for packet in sent] == [STATUS] * 5 + ["edge-vision/v1/test/cam/detections"]
    assert told.dropped == []


def test_what_a_lost_connection_left_open_is_sent_by_nobody_but_the_outlet(told: Told) -> None:
    """The next connection begins with nothing: paho brings no message over, and close() flushes none."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        if dialog.number:
            accept_all_from_here(dialog)
        else:
            dialog.read()  # one of six, and no answer

    def accept_all_from_here(dialog: Dialog) -> None:
        packet = dialog.read()
        while packet is not None:
            if packet.type == PUBLISH:
                dialog.say(puback(packet.mid))
            packet = dialog.read()

    with scripted_broker(script) as (port, dialogs):
        with pytest.raises(SinkError), open_mqtt(mqtt_options(port), told.opening()) as sink:
            sink.send(numbered(6))
        with open_mqtt(mqtt_options(port), told.opening()) as sink:
            sink.send([])
            sink.send(numbered(2))
    assert [packet.type for packet in dialogs[1].seen] == [CONNECT, PUBLISH, PUBLISH, DISCONNECT]
