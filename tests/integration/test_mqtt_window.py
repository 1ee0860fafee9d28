"""The MQTT sink and its broker, packet by packet: window, answers, sessions, the retained status."""

import select
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from listeners import mqtt_listener
from mqtt_server import CONNECT, DISCONNECT, PUBLISH, WELCOME, Dialog, accept_all, puback, scripted_broker
from servers import Broker

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.mqtt.client import MqttClient
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.sink import open_mqtt
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_message

STATUS = "edge-vision/v1/test/status"


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


@pytest.fixture(name="told")
def _told() -> Told:
    return Told()


def options(port: int, **given: Any) -> MqttOptions:
    """Options of a sink for a broker on a loopback port; without status unless asked for."""
    standard = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 5.0, "kinds": ["detections"]}
    return MqttOptions.model_validate({**standard, **given})


WITH_STATUS = {"kinds": ["detections", "status"]}


def numbered(count: int) -> list[Message]:
    """Messages with their place in the id."""
    return [replace(make_message(place + 1), id=f"m{place}") for place in range(count)]


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

    with scripted_broker(script) as (port, _), open_mqtt(options(port, inflight=4), told.opening()) as sink:
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

    with scripted_broker(script) as (port, _), open_mqtt(options(port), told.opening()) as sink:
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
        opened = open_mqtt(options(port, timeout_s=2), told.opening())
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

    with scripted_broker(script) as (port, _), open_mqtt(options(port, timeout_s=2), told.opening()) as sink:
        sink.send(numbered(5))


@pytest.mark.parametrize("reason", [0x97, 0x80, 0x83])
def test_a_refusal_for_now_is_not_one_for_good(reason: int, told: Told) -> None:
    """QUOTA EXCEEDED and the like: the message is not delivered, not dropped, and sent again."""
    one = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, reason if mid == 2 else 0)))
    with (
        one as (port, _),
        pytest.raises(SinkError, match="takes no more messages for now") as caught,
        open_mqtt(options(port), told.opening()) as sink,
    ):
        sink.send(numbered(3))
    assert caught.value.delivered == 1
    assert told.dropped == []


def test_a_refusal_for_good_drops_that_message_only(told: Told) -> None:
    """Not allowed on a topic: told with the broker's reason; the others are delivered."""
    one = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, 0x87 if mid == 2 else 0x10)))
    with one as (port, _), open_mqtt(options(port), told.opening()) as sink:
        sink.send(numbered(3))
    assert told.dropped == [("m1", "refused by the broker: Not authorized")]


def test_a_status_that_is_refused_is_told_once_where_others_pass(told: Told) -> None:
    """Refused when the connection is made and again in its turn: dropped, not delivered, and counted there only."""
    broker = scripted_broker(lambda dialog: accept_all(dialog, answer=lambda mid: puback(mid, 0x87 * (mid != 2))))
    with broker as (port, _), open_mqtt(options(port, **WITH_STATUS), told.opening()) as sink:
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
        with pytest.raises(SinkError, match="connection lost"), open_mqtt(options(port), opening) as sink:
            sink.send([forbidden[0], *numbered(2)])
        with open_mqtt(options(port), opening) as sink:
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
            opened = open_mqtt(options(port), told.opening())
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
        open_mqtt(options(port, **given), told.opening()) as sink,
    ):
        sink.send(numbered(3))
    assert (caught.value.delivered, told.dropped) == (0, [])
    assert caught.value.patience_s >= 60
    text = str(caught.value)
    assert "takes nothing from user 'edge': Not authorized" in text
    assert "such as topic edge-vision/v1/test/status" in text
    assert "asked again only every 60 to 300 s" in text


@pytest.mark.parametrize(
    "present,given,expected",
    [(0, {}, 1), (1, {}, 0), (0, {"session_expiry_s": 0}, 0), (0, {"resend_s": 0}, 0)],
)
def test_a_broker_that_forgot_the_session_gets_it_again(
    present: int, given: dict[str, Any], expected: int, told: Told
) -> None:
    """Without a session that was asked for, the broker may have lost what it acknowledged: whoever keeps it is told."""
    broker = scripted_broker(lambda dialog: accept_all(dialog, welcome=bytes((0x20, 3, present, 0, 0))))
    with broker as (port, dialogs), open_mqtt(options(port, **given), told.opening()) as sink:
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
    with broker as (port, _), open_mqtt(options(port), told.opening()) as sink:
        sink.send(numbered(1))
    assert told.forgotten == 0


def test_what_is_retained_at_the_broker_in_the_end(broker: Broker, told: Told) -> None:
    """Statuses of an earlier run and older ones come behind the newest, in any order: it stays."""
    statuses = [told.newest, *(told.wire.status("online", {}) for _ in range(3))]
    told.newest = statuses[3]
    before = replace(statuses[0], id="before", boot="0", seq=99, body=b'{"seq": 99}')
    with mqtt_listener(broker.port) as heard:
        with open_mqtt(options(broker.port, **WITH_STATUS), told.opening()) as sink:
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
        with open_mqtt(options(port, **WITH_STATUS), told.opening()) as sink:
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
        with pytest.raises(SinkError), open_mqtt(options(port), told.opening()) as sink:
            sink.send(numbered(6))
        with open_mqtt(options(port), told.opening()) as sink:
            sink.send([])
            sink.send(numbered(2))
    assert [packet.type for packet in dialogs[1].seen] == [CONNECT, PUBLISH, PUBLISH, DISCONNECT]


def test_a_broker_of_another_version_is_asked_once(told: Told) -> None:
    """Paho by itself would try older versions of MQTT, connection after connection, behind our back."""

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(b"\x20\x02\x00\x01")
        dialog.read()

    with scripted_broker(script) as (port, dialogs):
        for protocol in ("5", "3.1.1"):
            opened = open_mqtt(options(port, protocol=protocol), told.opening())
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

    with open_mqtt(options(broker.port), told.opening()) as sink:
        monkeypatch.setattr(MqttClient, "loop_misc", stumble)
        with pytest.raises(SinkError, match="not MQTT of this version"):
            sink.send(numbered(1))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_both_versions_of_mqtt(protocol: str, broker: Broker, told: Told) -> None:
    """Messages arrive, the status is retained, and an orderly end sends no last will."""
    told.newest = told.wire.status("online", {})
    given = {"protocol": protocol, **WITH_STATUS}
    with mqtt_listener(broker.port) as heard:
        with open_mqtt(options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(100))
        heard.wait_for("edge-vision/v1/test/cam/detections", 100)
        heard.wait_for(STATUS, 1)
        with open_mqtt(options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(1))
        heard.wait_for(STATUS, 2)
    assert told.forgotten == 1, "the second time the broker knew the session"
    broker.kill()
    broker.start()
    with open_mqtt(options(broker.port, **given), told.opening()) as sink:
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

    with scripted_broker(script) as (port, _), open_mqtt(options(port), told.opening()) as sink:
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
        open_mqtt(options(port, protocol=protocol), told.opening()) as sink,
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
                with suppress(SinkError), open_mqtt(options(port), opening):
                    continue
            with pytest.raises(SinkError, match="without an answer") as caught, open_mqtt(options(port), opening):
                pass
            assert caught.value.patience_s == patience_s


def test_what_mqtt_5_says_of_a_message(broker: Broker, told: Told) -> None:
    """The content type, and when the broker may drop it; a status is kept for good."""
    found: dict[str, Any] = {}
    with mqtt_listener(broker.port, properties=found) as heard:
        given = {"message_expiry_s": 300, "topic": "plant/{site}/{kind}/{source}", **WITH_STATUS}
        with open_mqtt(options(broker.port, **given), told.opening()) as sink:
            sink.send(numbered(1))
        heard.wait_for("plant/test/detections/cam", 1)
        heard.wait_for("plant/test/status", 1)
    assert found["plant/test/detections/cam"].ContentType == "application/json"
    assert found["plant/test/detections/cam"].MessageExpiryInterval in (299, 300)
    assert not hasattr(found["plant/test/status"], "MessageExpiryInterval")
