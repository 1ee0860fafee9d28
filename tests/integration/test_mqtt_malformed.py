"""Whatever comes from the network in the place of a broker: an error of the contract, in time, in bounded memory."""

import random
import re
import resource
import struct
import time
from typing import Any

import pytest
from mqtt_server import WELCOME, Dialog, puback, scripted_broker

from edge_vision.core.errors import SinkError
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.sink import open_mqtt
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_message

TIMEOUT_S = 0.25
ALLOWED_S = 30.0
"""Far more than the time-outs of all steps together; what hangs, hangs for longer."""
ALLOWED_KB = 150_000
TOLD = "not MQTT|connection lost|cannot connect|no answer|not acknowledged|refused|disconnected|packet of|takes no more"


def noise(dice: random.Random, most: int = 300) -> bytes:
    """Random bytes."""
    return dice.randbytes(dice.randrange(most))


def packet(kind: int, body: bytes, *, size: int | None = None) -> bytes:
    """A packet that may lie about its size."""
    left, head = len(body) if size is None else size, bytearray((kind,))
    while True:
        left, digit = divmod(left, 128)
        head.append(digit | (128 if left else 0))
        if not left:
            return bytes(head) + body


def properties(dice: random.Random) -> bytes:
    """Properties of MQTT 5, some of them right."""
    parts = [
        b"\x21" + struct.pack("!H", dice.randrange(65536)), b"\x27" + struct.pack("!I", dice.randrange(2**32)),
        b"\x13" + struct.pack("!H", dice.randrange(65536)), b"\x24" + dice.randbytes(1), b"\x25" + dice.randbytes(1),
        b"\x1f" + struct.pack("!H", dice.randrange(99)) + dice.randbytes(dice.randrange(99)),
        b"\x26\x00\x01a\x00\x01b", dice.randbytes(5),
    ]  # fmt: skip
    body = b"".join(dice.sample(parts, dice.randrange(4)))
    return bytes((len(body) + (dice.random() < 0.2) * dice.randrange(5) & 127,)) + body


def answer(dice: random.Random) -> bytes:
    """Something a broker might say after it welcomed a client, more or less."""
    mid = struct.pack("!H", dice.choice((0, 1, 2, 3, 65535, dice.randrange(65536))))
    return dice.choice((
        lambda: noise(dice),
        lambda: packet(0x40, mid + dice.randbytes(dice.randrange(4))),
        lambda: packet(0x40, mid + b"\x00" + properties(dice)),
        lambda: packet(dice.randrange(256), noise(dice)),
        lambda: packet(dice.randrange(16) << 4, mid),
        lambda: packet(0x30 | dice.randrange(16), b"\x00\x01t" + mid + noise(dice)),
        lambda: packet(0x34, b"\x00\x01t" + mid + b"\x00x") * dice.randrange(500),
        lambda: packet(0x20, dice.randbytes(2) + properties(dice)),
        lambda: packet(0xE0, dice.randbytes(1) + properties(dice)),
        lambda: packet(0xD0, b"") * dice.randrange(500),
        lambda: packet(0xC0, b"") * dice.randrange(500),
        lambda: packet(dice.randrange(256), noise(dice, 2_000_000), size=268_435_455),
        lambda: bytes((dice.randrange(256), 255, 255, 255, 255, 255)),
        lambda: puback(1) + puback(2) + puback(3),
    ))()  # fmt: skip


def conversation(dice: random.Random) -> tuple[bytes, bytes]:
    """What the server says to CONNECT, and then to the messages."""
    welcome = dice.choice((
        lambda: WELCOME,
        lambda: WELCOME,
        lambda: WELCOME,
        lambda: packet(0x20, b"\x00\x00"),
        lambda: packet(0x20, bytes((dice.randrange(2), 0)) + properties(dice)),
        lambda: packet(0x20, bytes((0, dice.randrange(256))) + properties(dice)),
        lambda: WELCOME[: dice.randrange(5)],
        lambda: answer(dice),
        lambda: noise(dice),
    ))()  # fmt: skip
    return welcome, b"".join(answer(dice) for _ in range(dice.randrange(4)))


def talk(options: MqttOptions, opening: SinkOpening) -> str:
    """Open a sink, send three messages, close it: nothing, or what went wrong."""
    try:
        with open_mqtt(options, opening) as sink:
            sink.send([make_message(place) for place in range(1, 4)])
            sink.send([])
    except SinkError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "first,count", [(0, 80), pytest.param(1000, 4000, marks=[pytest.mark.full, pytest.mark.timeout(1500)])]
)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_garbled_answers_are_a_sink_error_in_time(first: int, count: int, protocol: str) -> None:
    """Random, truncated, lying and huge packets, before and after the welcome; the server hangs up or stays."""
    wire = Wire("test", "boot", SystemClock())
    opening = SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))

    def script(dialog: Dialog) -> None:
        dice = random.Random(first + dialog.number)
        welcome, rest = conversation(dice)
        dialog.read()
        dialog.say(welcome)
        for _ in range(dice.randrange(3)):
            dialog.read()
        dialog.say(rest)
        if dice.random() < 0.15:
            dialog.read()  # stays until the sink has left

    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: list[str] = []
    with scripted_broker(script) as (port, dialogs):
        given: dict[str, Any] = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": TIMEOUT_S}
        options = MqttOptions.model_validate({**given, "protocol": protocol, "kinds": ["detections"]})
        for number in range(count):
            started = time.monotonic()
            outcomes.append(talk(options, opening))
            assert time.monotonic() - started < ALLOWED_S, f"case {first + number}"
            assert len(dialogs) == number + 1, "it connected once"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < ALLOWED_KB
    strange = [text for text in outcomes if text and not re.search(TOLD, text)]
    assert not strange
    assert sum(not text for text in outcomes) < count / 2


def test_a_giant_is_not_waited_for() -> None:
    """No answer to a publisher is long: a packet that says it is ends the connection at its head."""
    wire = Wire("test", "boot", SystemClock())
    opening = SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(packet(0x20, b"\0", size=268_435_455))
        dialog.read()

    with scripted_broker(script) as (port, _):
        given = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 3}
        text = talk(MqttOptions.model_validate(given), opening)
    assert text == f"127.0.0.1:{port}: a packet of 268,435,455 bytes, where no answer has more than 65,536"


def test_a_flood_is_not_hoarded() -> None:
    """A broker that sends messages without end to a sink that never subscribed, of QoS 2, never completed."""
    wire = Wire("test", "boot", SystemClock())
    opening = SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))

    def script(dialog: Dialog) -> None:
        dialog.read()
        dialog.say(WELCOME)
        dialog.read()
        for mid in range(1, 65536):
            dialog.say(packet(0x30 | 4, b"\x00\x01t" + struct.pack("!H", mid) + b"\x00" + b"x" * 60_000))

    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scripted_broker(script) as (port, _):
        given = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "timeout_s": 3, "kinds": ["detections"]}
        options = MqttOptions.model_validate(given)
        with pytest.raises(SinkError, match="more than it was asked for"), open_mqtt(options, opening) as sink:
            sink.send([make_message()])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < ALLOWED_KB
