"""Commands that nobody should send, by the thousand, the same ones for the same seed."""

import json
import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from commanding import ROOT


class Malformed(NamedTuple):
    """One: the levels behind the site's name, the body, and what MQTT 5 says beside it."""

    topic: str
    body: bytes
    response: str | None = None
    correlation: bytes | None = None


_KINDS: Final = ("enabled", "confidence", "snapshot", "fetch")
_PATHS: Final = (
    "../../../etc/passwd", "/etc/passwd", "a/../../b", "..", "....//....//etc/passwd", "%2e%2e%2fetc%2fpasswd",
    "..\\..\\windows\\win.ini", "a\u0000b", "\u202e../x", "./x", "a//b", "x/", "~root/.ssh/id_rsa", "line/\r\nx",
    "20261122T120000.000000Z.line.0001.clean.jpg/../../../x", "C:\\x", "file:///etc/passwd", "\\\\server\\share",
)  # fmt: skip
_RESPONSES: Final = (
    "", "#", "+", "a/+/b", "$SYS/broker", "$share/g/x", "x" * 300, f"{ROOT}/line/set/enabled", f"{ROOT}/set/reload",
    f"{ROOT}/status", f"{ROOT}/line/detections", "edge-vision/v1/other/line/set/enabled", "edge-vision",
)  # fmt: skip
_BOMBS: Final = (
    b"[" * 4000,
    b'{"value":' * 450 + b"1" + b"}" * 450,
    b'{"id":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"value":' + b"9" * 4000 + b"}",
    b"[" + b"0," * 30_000 + b"0]",
    b'{"' + b"k" * 60_000 + b'":1}',
    b'{"value":1e' + b"9" * 2000 + b"}",
    b'{"x":"' + b"\\u0000" * 600 + b'"}',
)


def malformed(count: int, seed: int, camera: str = "line") -> Iterator[Malformed]:
    """So many for a site with one camera, none of which may be carried out."""
    chance = random.Random(seed)
    makers = (_topic, _noise, _cut, _values, _keys, _ids, _bomb, _path, _level)
    for _ in range(count):
        made = chance.choice(makers)(chance)
        if chance.random() < 0.25:
            made = made._replace(
                response=chance.choice(_RESPONSES), correlation=chance.randbytes(chance.choice((1, 8)))
            )
        elif chance.random() < 0.05:
            made = made._replace(response="asker/own", correlation=chance.randbytes(chance.choice((1025, 5000))))
        yield made._replace(topic=made.topic.replace("line/", f"{camera}/", 1)) if camera != "line" else made


def _a_topic(chance: random.Random) -> str:
    return f"line/set/{chance.choice(_KINDS)}"


def _topic(chance: random.Random) -> Malformed:
    """Unknown commands and cameras, with a body that would do."""
    what = chance.choice(("enable", "ENABLED", "enabled ", "", "$", "detections", "status", "ping/", "x" * 500, "öl"))
    source = chance.choice(("line", "lin", "LINE", "*", "..", "line ", "x" * 200, "set", "answer", "%s", "{0}"))
    if chance.random() < 0.5:
        what = chance.choice(("enabled", "confidence", "snapshot"))
        source = "lone" if source == "line" else source
    return Malformed(f"{source}/set/{what.replace('/', '')}", b'{"value": false}')


def _level(chance: random.Random) -> Malformed:
    """A camera's command for the site, and the site's for a camera."""
    if chance.random() < 0.5:
        return Malformed(f"set/{chance.choice(_KINDS)}", b'{"value": false}')
    return Malformed(f"line/set/{chance.choice(('reload', 'ping'))}", b"{}")


def _noise(chance: random.Random) -> Malformed:
    """Bytes that are no JSON at all: invalid UTF-8, controls."""
    return Malformed(_a_topic(chance), b"\xff" + chance.randbytes(chance.choice((0, 1, 10, 200, 5000))))


def _cut(chance: random.Random) -> Malformed:
    """JSON that ends too soon, or goes on."""
    whole = json.dumps({"value": False, "id": "x", "path": "a"}).encode()
    if chance.random() < 0.3:
        return Malformed(_a_topic(chance), whole + chance.choice((b"}", b",", b"{}", b"\x00")))
    return Malformed(_a_topic(chance), whole[: chance.randrange(1, len(whole))])


def _values(chance: random.Random) -> Malformed:
    """A value that is none of the command's."""
    wrong: dict[str, list[bytes]] = {
        "enabled": [b"0", b"1", b'"true"', b"null", b"[true]", b'{"v": true}', b"1.5", b"True", b"tru"],
        "confidence": [b"-0.0001", b"1.0001", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"true", b'"0.5"', b"[0.5]",
                       b"0x1", b"1e", b".5", b"9" * 400, b"-" + b"9" * 400, b"0.5.5"],
    }  # fmt: skip
    what = chance.choice(list(wrong))
    return Malformed(f"line/set/{what}", b'{"value": ' + chance.choice(wrong[what]) + b"}")


def _keys(chance: random.Random) -> Malformed:
    """A key that no command has, beside those that would do."""
    key = chance.choice(("valeu", "Value", "", "__class__", "$ref", "\u0000", "id ", "x" * 1000, "__proto__"))
    what = chance.choice(_KINDS)
    body: dict[str, Any] = {"snapshot": {}, "fetch": {"path": "x"}}.get(what, {"value": chance.random() < 0.5})
    return Malformed(f"line/set/{what}", json.dumps({**body, key: chance.choice((1, None, [], {}, "x"))}).encode())


def _ids(chance: random.Random) -> Malformed:
    """An id that is none."""
    wrong: Any = chance.choice(("", " ", "a b", "x" * 65, 7, True, [], {}, "\u00fc", "\n", "a\u0000"))
    body: dict[str, Any] = {"value": False, "id": wrong}
    return Malformed(f"line/set/{chance.choice(('enabled', 'confidence'))}", json.dumps(body).encode())


def _bomb(chance: random.Random) -> Malformed:
    """Deep, long, or large."""
    return Malformed(_a_topic(chance), chance.choice(_BOMBS))


def _path(chance: random.Random) -> Malformed:
    """A way out of the folder."""
    return Malformed("line/set/fetch", json.dumps({"path": chance.choice(_PATHS)}).encode())
