"""What a site file may say of commands, and the mistakes that are found in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo_site import camera

from edge_vision.app.check import check_site
from edge_vision.core.errors import ConfigError

Check = Callable[..., str]
KEY = "l75$%@{g61KN]UNb0Mj^}svZjxhf1zu9#q0.irbB"


@pytest.fixture(name="check")
def _check(tmp_path: Path) -> Check:
    """Checks a site with one sink; the mistakes, or nothing."""

    def check(sink: dict[str, Any], *cameras: dict[str, Any]) -> str:
        file = tmp_path / "site.yaml"
        content = {"version": 1, "site": "s", "cameras": [*(cameras or [camera()])], "publish": [sink]}
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            check_site(file)
        except ConfigError as error:
            return str(error)
        return ""

    return check


def _mqtt(**commands: Any) -> dict[str, Any]:
    return {"kind": "mqtt", "host": "broker", "commands": commands}


def _zeromq(bind: str, **more: Any) -> dict[str, Any]:
    return {"kind": "zeromq", "bind": "tcp://127.0.0.1:5556", "commands": {"allow": ["ping"], "bind": bind, **more}}


def test_commands_need_a_list(check: Check) -> None:
    """Of known ones, each once."""
    assert check(_mqtt(allow=["ping", "reload"])) == ""
    assert "commands.allow: this key is required" in check(_mqtt())
    assert "commands.allow" in check(_mqtt(allow=[]))
    assert "ping is listed twice" in check(_mqtt(allow=["ping", "ping"]))
    assert "commands.allow[0]" in check(_mqtt(allow=["shutdown"]))
    assert "commands.bind: unknown key" in check(_mqtt(allow=["ping"], bind="tcp://127.0.0.1:1"))


@pytest.mark.parametrize(
    "bind", ["tcp://127.0.0.1:5557", "tcp://[::1]:5557", "tcp://localhost:*", "tcp://lo:5557", "ipc://c.sock"]
)
def test_commands_over_zeromq_come_from_this_machine(bind: str, check: Check) -> None:
    """A loopback address or a path."""
    assert check(_zeromq(bind)) == ""


@pytest.mark.parametrize(
    "bind", ["tcp://*:5557", "tcp://0.0.0.0:5557", "tcp://10.0.0.5:5557", "tcp://eth0:5557", "tcp://[::]:5557"]
)
def test_nobody_else_may_send_them_without_encryption(bind: str, check: Check) -> None:
    """Whoever reaches the port could command the site, so that `plain` is not enough."""
    assert f"{bind} is reached from other machines" in check(_zeromq(bind))
    assert "give curve: with keys" in check({**_zeromq(bind), "plain": True})
    assert check({**_zeromq(bind), "curve": {"secret_key": {"env": "KEY"}, "clients": [KEY]}}) == ""


def test_wrong_addresses(check: Check) -> None:
    """As of any socket."""
    assert "port 0 is not one of 1 to 65535" in check(_zeromq("tcp://127.0.0.1:0"))
    assert "commands.bind" in check(_zeromq("127.0.0.1:5557"))
    assert "the same as publish[0].bind" in check(_zeromq("tcp://127.0.0.1:5556"))


@pytest.mark.parametrize("name", ["set", "answer"])
def test_a_camera_is_not_called_like_a_level_of_the_topics(name: str, check: Check) -> None:
    """Its messages would come in as commands."""
    found = check({"kind": "jsonl", "path": "-"}, {**camera(), "id": name})
    assert f"cameras[0].id: '{name}' is a word of the topics of commands" in found


def test_messages_do_not_go_where_commands_come_in(check: Check) -> None:
    """A template that puts them there."""
    taken = _mqtt(allow=["ping"])
    for topic in ("edge-vision/v1/{site}/{source}/set/{kind}", "edge-vision/v1/{site}/set/{kind}"):
        assert "topic puts messages where commands are taken" in check({**taken, "topic": topic})
    assert check({**taken, "topic": "plant/{site}/{source}/set/{kind}"}) == ""
