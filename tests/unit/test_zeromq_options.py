"""What a site file may say about ZeroMQ: addresses, keys, what is kept; and the command that makes keys."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from zeromq_site import make_pair
from zmq.utils import z85

from edge_vision.cli.command import run_command
from edge_vision.core.errors import ConfigError
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.zeromq.addresses import reaches_out, read_clients, why_no_key
from edge_vision.publish.zeromq.options import ZeromqOptions

KEY = "l75$%@{g61KN]UNb0Mj^}svZjxhf1zu9#q0.irbB"
CURVE = {"secret_key": {"env": "KEY"}, "clients": [KEY]}
CAMERA = {"id": "a", "source": {"kind": "synthetic"}, "pipeline": "object_detection", "with": {"model": "m"}}


def _options(**given_: Any) -> ZeromqOptions:
    return ZeromqOptions.model_validate({"kind": "zeromq", "bind": "tcp://127.0.0.1:9", **given_})


@pytest.mark.parametrize(
    "bind, out",
    [
        ("tcp://127.0.0.1:1", False), ("tcp://127.9.9.9:1", False), ("tcp://[::1]:1", False), ("tcp://lo:1", False),
        ("tcp://localhost:*", False), ("ipc:///run/x", False), ("tcp://*:1", True), ("tcp://0.0.0.0:1", True),
        ("tcp://[::]:1", True), ("tcp://10.0.0.7:1", True), ("tcp://eth0:1", True), ("tcp://1270.0.0.1:1", True),
        ("tcp://::1:1", False), ("tcp://[::ffff:10.0.0.1]:1", True), ("tcp://127.0.0.1.evil:1", True),
    ],
)  # fmt: skip
def test_an_address_that_others_reach_needs_curve_or_a_word(bind: str, out: bool) -> None:
    """For the PUB socket and the replay socket alike; the word is `plain: true`."""
    assert reaches_out(bind) is out
    for given_ in ({"bind": bind}, {"replay": {"bind": bind}}):
        if out:
            with pytest.raises(ValidationError, match="open to everybody who reaches the port"):
                _options(**given_)
        else:
            _options(**given_)
        _options(**given_, plain=True)
        _options(**given_, curve=CURVE)
        with pytest.raises(ValidationError, match="leave plain out"):
            _options(**given_, curve=CURVE, plain=True)


def test_check_says_so_with_the_line(write_site: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """At `bind` and at `replay`; no key is repeated, wrong or in the place of a reference."""
    secret = make_pair()[1]
    publish = [
        {"kind": "zeromq", "bind": "tcp://*:5556", "replay": {"bind": "tcp://0.0.0.0:5557"}},
        {"kind": "zeromq", "bind": "tcp://*:5558", "curve": {"secret_key": secret, "clients": ["short"]}},
        {"kind": "zeromq", "bind": "ipc://" + "x" * 120},
        {
            "kind": "zeromq",
            "bind": "tcp://127.0.0.1:1",
            "replay": {"bind": "tcp://127.0.0.1:1", "kinds": ["count"] * 2},
        },
        {"kind": "zeromq", "bind": "tcp://127.0.0.1:1", "curve": {"secret_key": {"env": "A"}}, "heartbeat_s": 0.1},
        {"kind": "zeromq", "bind": "ipc://a", "replay": {"bind": "ipc://a"}},
    ]
    file = write_site(cameras=[CAMERA], publish=publish)
    assert run_command(["check", str(file)]) == 78
    said = capsys.readouterr().err
    line = 1 + file.read_text().splitlines().index("  bind: tcp://*:5556")
    assert f"{file}:{line}:9: publish[0].bind: tcp://*:5556 is reached from other machines" in said
    for words in (
        "publish[0].replay: tcp://0.0.0.0:5557 is reached from other machines", "publish[1].curve.secret_key",
        "publish[1].curve.clients[0]: a key has 40 characters, not 5", "publish[2].bind: the path of a socket may have",
        "publish[3].replay.kinds: count is listed twice", "publish[4].curve: give either clients",
        "publish[4].heartbeat_s: must be at least 0.5", "publish[5].replay: bind ipc://",
    ):  # fmt: skip
        assert words in said
    assert secret not in said


def test_what_is_kept_for_the_replay_socket() -> None:
    """All but detections, or what is listed; never what does not go there, and nothing without a replay socket."""
    replay = {"bind": "tcp://127.0.0.1:2"}
    assert not any(_options().keeps(kind) for kind in MESSAGE_KINDS)
    assert _options().keep_s == 0
    assert [kind for kind in MESSAGE_KINDS if not _options(replay=replay).keeps(kind)] == ["detections"]
    assert _options(replay=replay).keep_s == 600
    listed = _options(replay={**replay, "kinds": ["detections", "count"], "keep_s": 5}, kinds=["count", "status"])
    assert [kind for kind in MESSAGE_KINDS if listed.keeps(kind)] == ["count"]
    assert listed.keep_s == 5


@given(st.binary(min_size=32, max_size=32))
def test_every_key_is_one(key: bytes) -> None:
    """Whatever its 32 bytes."""
    assert why_no_key(z85.encode(key).decode()) == ""


@given(st.text(min_size=40, max_size=40))
def test_what_zeromq_takes_for_no_key_is_none(text: str) -> None:
    """And the reason does not repeat it."""
    why = why_no_key(text)
    try:
        decoded: bytes | None = z85.decode(text.encode())
    except (ValueError, KeyError, OverflowError, zmq.ZMQError, Exception):  # noqa: BLE001 - struct.error, too
        decoded = None
    assert (why == "") == (decoded is not None)
    assert text not in why


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "has no key"), (b"# nothing\n", "has no key"), (b"\xff\xfe", "is not UTF-8 text"),
        (KEY[:-1].encode(), ":1: a key has 40 characters, not 39"),
        (f"{KEY}\n{'~' * 40}".encode(), ":2: character 1 is none of Z85"),
        (b"%####" * 8, ":1: characters 1 to 5 are no number of 32 bits"),
        (b"# x\n" * 300_000, "has more than 1000000 bytes"), (None, "no such file"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_clients_says_what_is_wrong(content: bytes | None, words: str, tmp_path: Path) -> None:
    """With its line; and the start ends with 78."""
    file = tmp_path / "clients"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_clients(file)


def test_a_pipe_is_no_file_of_clients(tmp_path: Path) -> None:
    """Whoever put it there would hold up the thread that lets clients in, for ever."""
    os.mkfifo(tmp_path / "clients")
    with pytest.raises(ConfigError, match="clients cannot be read: "):
        read_clients(tmp_path / "clients")


@pytest.mark.parametrize(
    "secret_mode, clients_mode, words",
    [
        (0o600, 0o644, []),
        (0o640, 0o664, []),
        (0o644, 0o600, ["every user of this machine may read or change the secret key"]),
        (0o602, 0o600, ["every user of this machine may read or change the secret key"]),
        (0o600, 0o646, ["every user of this machine may change it, and so let himself in"]),
    ],
)
def test_files_of_keys_that_everybody_may_use_are_told(
    secret_mode: int, clients_mode: int, words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, for containers mount secrets so: with the file and its mode, and nothing of what is in it."""
    secret, clients = tmp_path / "secret", tmp_path / "clients"
    for file, mode in ((secret, secret_mode), (clients, clients_mode)):
        file.write_text(f"{KEY}\n")
        file.chmod(mode)
    curve = {"secret_key": {"file": secret}, "clients_file": clients}
    ZeromqOptions.model_validate({"kind": "zeromq", "bind": "tcp://0.0.0.0:5556", "curve": curve}).check_secrets()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(words)
    for text, word in zip(told, words, strict=True):
        assert word in text
        assert KEY not in text


def test_clients_may_have_names(tmp_path: Path) -> None:
    """Behind a blank; a key may have a # in it, and never begins with one: what does is a comment."""
    file = tmp_path / "clients"
    file.write_text(f"# presses\n\n{KEY} press 7\n  {'0' * 40}\tthe other\n#{KEY}\n")
    assert read_clients(file) == {KEY, "0" * 40}
    assert why_no_key("#" + "0" * 39)


def test_keys_are_made_once_for_their_owner_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret in a file of mode 0600 whatever the umask, the public key on standard output; nothing overwritten."""
    file = tmp_path / "key"
    mask = os.umask(0)
    try:
        assert run_command(["keys", str(file)]) == 0
    finally:
        os.umask(mask)
    public = capsys.readouterr().out.strip()
    secret = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert zmq.curve_public(secret.encode()).decode() == public
    assert public[0].isalnum()
    assert public != secret
    assert run_command(["keys", str(file)]) == 78
    assert "never overwritten" in capsys.readouterr().err
    assert file.read_text().strip() == secret
    assert run_command(["keys", "--show", str(file)]) == 0
    assert capsys.readouterr().out.strip() == public
    assert run_command(["keys", str(tmp_path / "no" / "key")]) == 78
    assert "No such file or directory" in capsys.readouterr().err
    file.write_text("not a key that works")
    assert run_command(["keys", "--show", str(file)]) == 78
    said = capsys.readouterr()
    assert "a key has 40 characters" in said.err
    assert "not a key that works" not in said.err + said.out


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["tcp://127.0.0.1:1", "--kept"], 2, "--kept needs --replay"),
        (["tcp://127.0.0.1:1", "--server-key", KEY], 78, "needs --server-key"),
        (["tcp://127.0.0.1:1", "--server-key", "x", "--key", "key"], 78, "the public key of the site: a key has 40"),
        (["tcp://127.0.0.1:1", "--server-key", KEY, "--key", "absent"], 78, "absent cannot be read"),
        (["nowhere"], 78, "nowhere: Invalid argument"),
        (["tcp://127.0.0.1:1", "--replay", "nowhere"], 78, "nowhere: Invalid argument"),
        (["tcp://127.0.0.1:1", "--timeout", "0.3"], 70, "nothing for 0.3 s"),
    ],
)
def test_tail_says_what_is_wrong(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Keys that do not fit together, addresses that are none, and silence."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(make_pair()[1])
    assert run_command(["tail", *words]) == code
    assert said in capsys.readouterr().err
