"""Checks secrets, addresses and paths: what options accept, and what never shows."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge_vision.capture.options import AvOptions, FileOptions, HttpOptions, RtspOptions, V4l2Options
from edge_vision.core.errors import ConfigError
from edge_vision.core.options import Options, Secret
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.options import JsonlOptions
from edge_vision.publish.zeromq.options import ZeromqOptions

HUNTER = "hunter2"


class _Stream(RtspOptions):
    """Shorter to write."""

    kind: Any = "rtsp"


def test_a_secret_is_revealed_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's value, as it is."""
    monkeypatch.setenv("CAMERA_PASSWORD", f" {HUNTER} ")
    assert Secret(env="CAMERA_PASSWORD").reveal() == f" {HUNTER} "


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_revealed_from_a_file(end: str, tmp_path: Path) -> None:
    """Its contents without the final newline that editors add."""
    file = tmp_path / "password"
    file.write_bytes(f"{HUNTER} ü{end}".encode())
    assert Secret(file=file).reveal() == f"{HUNTER} ü"


def test_a_secret_is_revealed_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of that name in CREDENTIALS_DIRECTORY."""
    (tmp_path / "mqtt").write_text(f"{HUNTER}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secret(credential="mqtt").reveal() == HUNTER


def test_a_relative_file_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    """Where the daemon was started does not matter."""
    (tmp_path / "password").write_text(HUNTER)
    secret = Secret.model_validate({"file": "password"}, context={"folder": tmp_path})
    assert secret.reveal() == HUNTER


@pytest.mark.parametrize(
    "reference, words",
    [
        ({"env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"file": "/nonexistent/password"}, "/nonexistent/password cannot be read: No such file"),
        ({"file": "/"}, "cannot be read: Is a directory"),
        ({"credential": "mqtt"}, "credential mqtt: not started by systemd"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_config_error(
    reference: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the reference."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=words):
        Secret(**reference).reveal()


def test_a_secret_file_that_is_not_text_is_a_config_error_without_its_bytes(tmp_path: Path) -> None:
    """Neither the message nor the chain of causes holds what was in the file."""
    file = tmp_path / "password"
    file.write_bytes(HUNTER.encode() + b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text") as caught:
        Secret(file=file).reveal()
    assert HUNTER not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"env": "A", "file": "b"},
        {"env": "A", "credential": "c"},
        {"env": ""},
        {"credential": "../../etc/shadow"},
        {"credential": ""},
        {"value": HUNTER},
        HUNTER,
        None,
    ],
)
def test_a_secret_is_exactly_one_reference(reference: Any) -> None:
    """Nothing, two at once, a path as a credential, and the password itself are refused."""
    with pytest.raises(ValidationError):
        Secret.model_validate(reference)


def test_a_secret_never_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not in str, repr or a dump of the options that hold it, also after it was revealed."""
    monkeypatch.setenv("CAMERA_PASSWORD", HUNTER)
    file = tmp_path / "password"
    file.write_text(HUNTER)
    for secret in (Secret(env="CAMERA_PASSWORD"), Secret(file=file)):
        options = _Stream(url="rtsp://cam/1", username="admin", password=secret)
        assert HUNTER in options.address()
        for shown in (str(secret), repr(secret), str(options), repr(options), options.model_dump_json()):
            assert HUNTER not in shown


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://bob:hunter2@cam/1",
        "rtsp://bob@cam/1",
        "rtsp://bob:hunter2%40x@cam/1",
        "rtsp://bob%40site:hunter2@cam:554/1",
        "rtsp://:hunter2@cam/1",
        "rtsp://bob:hunter2@[::1]:554/1",
        "RTSP://bob:hunter2@cam/1",
        "Rtsps://bob:hunter2@cam",
        "rtsp://bob:hun@ter2@cam/1",
        " rtsp://bob:hunter2@cam/1",
        "\trtsp://bob:hunter2@cam/1",
        "rt\nsp://bob:hunter2@cam/1",
        "rtsp:/bob:hunter2@cam/1",
        "rtsp://bob:hun/ter2@cam/1",
        "rtsp://bob:hun?ter2@cam/1",
        "rtsp://bob:hun#ter2@cam/1",
    ],
)
def test_credentials_inside_an_address_are_refused_and_not_repeated(url: str) -> None:
    """However they are written; the error tells what to write instead and shows neither name nor password."""
    with pytest.raises(ValidationError) as caught:
        _Stream(url=url)
    text = str(caught.value)
    assert "password: {env: VARIABLE}" in text
    for word in ("bob", "hunter2", "hun", "ter2"):
        assert word not in text


@pytest.mark.parametrize(
    "url", ["rtsp://cam/1", "rtsps://cam:322/a@b", "rtsp://cam/?to=a@b", "RTSP://CAM/1", "rtsp://[fe80::1]/x#a@b"]
)
def test_addresses_without_credentials_are_accepted(url: str) -> None:
    """An @ behind the host is not a credential."""
    assert _Stream(url=url).address() == url.replace("RTSP:", "rtsp:")


@pytest.mark.parametrize(
    "url, username, address",
    [
        ("rtsp://cam:554/1?x=y", "bob", "rtsp://bob:p%40ss%2F%3A@cam:554/1?x=y"),
        ("rtsp://[::1]:554/1", "b@b", "rtsp://b%40b:p%40ss%2F%3A@[::1]:554/1"),
    ],
)
def test_the_address_for_the_library_has_the_credentials_escaped(
    url: str, username: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Characters that mean something in an address do not break it."""
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss/:")
    assert _Stream(url=url, username=username, password=Secret(env="CAMERA_PASSWORD")).address() == address
    assert _Stream(url="rtsp://cam/1", username="bob").address() == "rtsp://bob@cam/1"


@pytest.mark.parametrize(
    "kind, given, words",
    [
        (RtspOptions, {"kind": "rtsp", "url": "http://cam/1"}, "must start with rtsp:// or rtsps://"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://cam:99999/1"}, "there is no port 99999: 1 to 65535"),
        (AvOptions, {"kind": "av", "url": "rtsp://[::1]:0/1"}, "there is no port 0: 1 to 65535"),
        (HttpOptions, {"kind": "http", "url": "rtsp://cam/1"}, "must start with http:// or https://"),
        (RtspOptions, {"kind": "rtsp", "url": "cam"}, "must start with"),
        (RtspOptions, {"kind": "rtsp", "url": ""}, "url"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://c", "password": {"env": "A"}}, "needs a username beside it"),
        (MqttOptions, {"kind": "mqtt", "host": "h", "password": {"env": "A"}}, "needs a username beside it"),
        (MqttOptions, {"kind": "mqtt", "host": "bob:pw@h"}, "host"),
        (MqttOptions, {"kind": "mqtt", "host": "mqtt://h"}, "host"),
        (MqttOptions, {"kind": "mqtt", "host": "h", "port": 0}, "port"),
        (ZeromqOptions, {"kind": "zeromq", "bind": "localhost:5556"}, "bind"),
        (ZeromqOptions, {"kind": "zeromq", "bind": "tcp://a@b:1"}, "bind"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://c", "open_timeout_s": 0}, "open_timeout_s"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://c", "read_timeout_s": 3601}, "read_timeout_s"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://c", "read_timeout_s": float("nan")}, "read_timeout_s"),
        (JsonlOptions, {"kind": "jsonl", "path": "a", "queue_mb": 0}, "queue_mb"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp://"}, "host"),
        (RtspOptions, {"kind": "rtsp", "url": "rtsp:cam/1"}, "rtsp://"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(kind: type[Options], given: dict[str, Any], words: str) -> None:
    """A wrong scheme, a password without a name, a limit of nothing: errors that say so."""
    with pytest.raises(ValidationError, match=words):
        kind(**given)


@pytest.mark.parametrize(
    "kind, path, expected",
    [("file", "a/b.mp4", "{folder}/a/b.mp4"), ("file", "/x/b.mp4", "/x/b.mp4"), ("jsonl", "-", "-")],
)
def test_paths_start_from_the_folder_of_their_file(kind: str, path: str, expected: str, tmp_path: Path) -> None:
    """Relative ones from there, absolute ones as they are, and "-" is not a path."""
    model: type[Options] = FileOptions if kind == "file" else JsonlOptions
    options = model.model_validate({"kind": kind, "path": path}, context={"folder": tmp_path})
    assert str(getattr(options, "path")) == expected.format(folder=tmp_path)  # noqa: B009 - of two types


def test_options_are_frozen_and_closed() -> None:
    """Values never change, and unknown keys are errors."""
    options = ZeromqOptions(kind="zeromq", bind="tcp://127.0.0.1:1")
    with pytest.raises(ValidationError):
        options.bind = "tcp://127.0.0.1:2"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ZeromqOptions(kind="zeromq", bind="tcp://127.0.0.1:1", bnid=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("device,file", [(2, "/dev/video2"), ("/dev/video1", "/dev/video1"), (None, "/dev/video0")])
def test_a_camera_may_be_named_by_its_number(device: object, file: str) -> None:
    """`device: 2` is /dev/video2."""
    given = {} if device is None else {"device": device}
    assert str(V4l2Options.model_validate({"kind": "v4l2", **given}).device) == file


@pytest.mark.parametrize(
    "given, words",
    [
        ({}, "exactly one of url and path"),
        ({"url": "rtsp://cam/1", "path": "clip.mp4"}, "exactly one of url and path"),
        ({"url": "ftp://cam/1"}, "must start with rtsp://"),
        ({"url": "rtsp://bob:hunter2@cam/1"}, "password: {env: VARIABLE}"),
        ({"url": "rtsp://cam/1", "loop": True}, r"loop is for a recording \(path\)"),
        ({"url": "rtsp://cam/1", "realtime": True}, r"realtime is for a recording \(path\)"),
        ({"path": "clip.mp4", "username": "bob"}, r"username is for a camera \(url\)"),
        ({"path": "clip.mp4", "transport": "udp"}, r"transport is for a camera \(url\)"),
        ({"url": "rtsp://cam/1", "transport": "multicast"}, "transport"),
        ({"url": "rtsp://cam/1", "password": {"env": "A"}}, "needs a username"),
    ],
)
def test_av_is_a_camera_or_a_recording(given: dict[str, Any], words: str) -> None:
    """What is for the one is a mistake at the other, and not passed over."""
    with pytest.raises(ValidationError, match=words) as caught:
        AvOptions.model_validate({"kind": "av", **given})
    assert HUNTER not in str(caught.value)


def test_av_shows_neither_password_nor_what_is_secret_in_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the library gets the address as it is."""
    monkeypatch.setenv("CAMERA_PASSWORD", HUNTER)
    url = "http://cam/live?pwd=s3cret"
    options = AvOptions(kind="av", url=url, username="bob", password=Secret(env="CAMERA_PASSWORD"))
    assert options.address() == f"http://bob:{HUNTER}@cam/live?pwd=s3cret"
    for shown in (options.shown, options.model_dump_json()):
        assert HUNTER not in shown
        assert "s3cret" not in shown
    assert AvOptions(kind="av", path=Path("clip.mp4")).address() == "clip.mp4"


def test_a_scheme_in_capitals_is_one_that_ffmpeg_knows() -> None:
    """It looks for small letters, and says otherwise that it does not speak the protocol."""
    assert AvOptions(kind="av", url="RTSP://Cam/Line").address() == "rtsp://Cam/Line"
    assert RtspOptions(kind="rtsp", url="Rtsp://Cam/Line").address() == "rtsp://Cam/Line"
