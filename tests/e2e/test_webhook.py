"""The daemon and a webhook's receiver that is absent, fails, is slow, is killed and comes back."""

import base64
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run
from conftest import Start, wait_until
from demo_site import CLIP, PARTS, camera, read_lines
from drill import on_disk
from servers import Server
from webhook import Post, Reply, receiving

KEY = "canary-5d11"


class Webhook(Server):
    """The receiver's process, on a port of its own."""

    def __init__(self, port: int, file: Path) -> None:
        super().__init__(port)
        self.file = file
        self.script: list[str] = []

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.port}/hook"

    def command(self) -> list[str]:
        """The script, with what it shall answer first."""
        return [sys.executable, str(Path(__file__).parent.parent / "webhook_server.py"), str(self.port), str(self.file),
                KEY, *self.script]  # fmt: skip

    def bodies(self) -> list[Any]:
        """What it has taken so far, message by message, in order."""
        found = []
        for line in read_lines(self.file):
            body = json.loads(base64.b64decode(line["body"]))
            messages = body if isinstance(body, list) else [body]
            assert line["id"] == messages[0]["id"]
            found += messages
        return found


def _counting() -> dict[str, Any]:
    """A camera that counts what goes by, for ever."""
    settings = {"model": PARTS, "lines": {"gate": [[0.5, 1.0], [0.5, 0.0]]}, "backends": ["onnxruntime"]}
    source = {"kind": "file", "path": CLIP, "loop": True, "realtime": True}
    return {"id": "line", "source": source, "pipeline": "object_counting", "with": settings}


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.full), 20])
def test_every_event_arrives_at_least_once(
    batch: int, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Nobody there, then 500s and 503s, then slow, killed in the middle, brought back: doubles have equal ids."""
    hook, lines = Webhook(free_port, tmp_path / "posts"), tmp_path / "out.jsonl"
    kinds = ["detections", "line_crossed"]
    publish = [
        {"kind": "jsonl", "path": str(lines), "kinds": kinds},
        {
            "kind": "http",
            "url": hook.url,
            "secret": {"env": "HOOK_KEY"},
            "batch": batch,
            "kinds": kinds,
            "timeout_s": 5,
        },
    ]
    site = write_site(cameras=[_counting()], publish=publish)
    process = edge_vision("run", site, env={**os.environ, "HOOK_KEY": KEY})
    try:
        wait_until(lambda: len(read_lines(lines)) > 30, 60, "frames come without a receiver")
        hook.script = ["500", "204", "503", "slow", "slow"]
        hook.start()
        wait_until(lambda: len(hook.bodies()) > 40, 60, "it is heard")
        hook.kill()
        before = len(hook.bodies())
        hook.script = ["500"]
        hook.start()
        wait_until(lambda: len(hook.bodies()) > before + 40, 60, "it is heard again")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        hook.kill()
    assert process.returncode == 0, errors
    assert KEY not in errors
    assert "Traceback" not in errors
    assert "cannot connect: Connection refused" in errors
    assert "answered 500 Internal Server Error" in errors
    sent, arrived = read_lines(lines), hook.bodies()
    assert {one["kind"] for one in sent} == set(kinds)
    by_id = {one["id"]: one for one in sent}
    assert {one["id"] for one in arrived} == by_id.keys()
    assert all(by_id[one["id"]] == one for one in arrived), "what comes twice is the same"


def test_a_refused_message_is_counted_and_the_rest_arrives(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """422 for one frame of thirty: the status says so, the end is 70."""

    def picky(post: Post) -> Reply:
        refused = any(one.get("seq") == 7 for one in json.loads(post.body))
        return Reply(422, body=b"seven is not taken") if refused else Reply()

    lines = tmp_path / "out.jsonl"
    source = {"kind": "synthetic", "frames": 30, "realtime": False}
    with receiving() as receiver:
        receiver.answer = picky
        publish = [
            {"kind": "http", "url": receiver.url, "batch": 10, "kinds": ["detections"]},
            {"kind": "jsonl", "path": str(lines)},
        ]
        process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
        _, errors = process.communicate(timeout=60)
        taken = [one["seq"] for post in receiver.posts for one in json.loads(post.body)]
    assert process.returncode == 70
    assert "dropped: the server refused it: 422 Unprocessable" in errors
    assert "seven is not taken" in errors
    assert set(taken) == set(range(1, 31))
    assert len(read_lines(lines)) == 30


def test_a_secret_that_is_not_there_ends_the_start(write_site: Callable[..., Path]) -> None:
    """With 78, before anything is analyzed; `check`, which may run elsewhere, asks for files of TLS only."""
    for code, more, words in (
        (0, {"secret": {"env": "NOT_SET_ANYWHERE"}}, "secret: the environment variable NOT_SET_ANYWHERE is not set"),
        (0, {"headers": {"X-A": {"env": "NOT_SET_ANYWHERE"}}}, "header X-A: the environment variable NOT_SET"),
        (78, {"ca_file": "absent.pem"}, "absent.pem: no such file"),
    ):
        publish = [{"kind": "http", "url": "https://mes.example/secret-path", **more}]
        site = write_site(cameras=[camera()], publish=publish)
        assert run("check", site).code == code
        done = run("run", site)
        assert done.code == 78
        place = "publish[0].ca_file" if code else "https://mes.example"
        assert f"{place}: {words}" in done.errors.replace(f"{site.parent}/", "")
        assert "secret-path" not in done.errors


def test_mistakes_are_found_at_check_without_showing_a_secret(tmp_path: Path) -> None:
    """Each at its place; nothing of what stands where a secret belongs."""
    site = tmp_path / "site.yaml"
    entries = [
        "{kind: http, url: 'https://bob:canary@mes/'}",
        "{kind: http, url: 'ftp://mes/canary'}",
        "{kind: http, url: 'http://mes.example/canary'}",
        "{kind: http, url: 'https://mes1/', headers: {Authorization: Bearer canary}}",
        "{kind: http, url: 'https://mes2/', headers: {X-A: 'canäry'}}",
        "{kind: http, url: 'https://mes3/', secret: canary}",
        "{kind: http, url: 'https://mes4/', headers: {X-A: {env: A, file: canary}}}",
        "{kind: http, url: 'https://mes/5', kinds: [status]}",
        "{kind: http, url: 'https://mes/5', kinds: [gap], name: b}",
        "{kind: http, url: 'https://mes/5', kinds: [status, verdict], name: c}",
        "{kind: http, url: 'https://mes/6'}",
        "{kind: http, url: 'https://mes/7', name: b}",
        "{kind: http, url: 'https://[mes/8'}",
    ]
    site.write_text(
        "version: 1\nsite: a\ncameras:\n  - id: b\n    source: {kind: synthetic}\n    pipeline: object_detection\n"
        f"    with: {{model: {json.dumps(PARTS)}}}\npublish:\n" + "".join(f"  - {entry}\n" for entry in entries)
    )
    done = run("check", site)
    assert done.code == 78
    assert "canary" not in done.errors + done.output
    assert "canäry" not in done.errors + done.output
    found = [re.sub(r"^\d+:\d+: ", "", line.removeprefix(f"{site}:")) for line in done.errors.splitlines()]
    credentials = "credentials inside a URL end up in logs: write headers: {Authorization: {env: VARIABLE}} beside url"
    named = "each needs a name of its own, by which what waits for it is known"
    assert found == [
        f"publish[0].url: {credentials}",
        "publish[1].url: must be https://HOST[:PORT]/PATH, or http, in plain ASCII and without a #fragment",
        "publish[2]: http to another machine is for all to read: write https, or plain: true where that may be",
        "publish[3].headers: Authorization is a secret: write {env: VARIABLE}, {file: PATH} or {credential: NAME}",
        "publish[4].headers.X-A: must be visible ASCII, with blanks inside only",
        "publish[5].secret: must be a mapping of keys to values, not a hidden value",
        "publish[6].headers.X-A: a secret is exactly one of {env: NAME}, {file: PATH}, {credential: NAME}",
        "publish[9].url: the same as publish[7].url",
        f"publish[10].url: on the same server as publish[7]: {named}",
        f"publish[11].name: named like publish[8]: {named}",
        "publish[12].url: must be https://HOST[:PORT]/PATH, or http, in plain ASCII and without a #fragment",
    ]


def test_events_of_a_process_that_was_killed_are_posted_by_the_next(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Nobody listened, then the power went: what was seen before is posted as it was, then what is seen now."""
    hook, lines = Webhook(free_port, tmp_path / "posts"), tmp_path / "out.jsonl"
    kinds = ["line_crossed"]
    publish = [
        {"kind": "jsonl", "path": str(lines), "kinds": kinds},
        {"kind": "http", "url": hook.url, "secret": {"env": "HOOK_KEY"}, "kinds": kinds, "timeout_s": 5},
    ]
    state = tmp_path / "state"
    site = write_site(cameras=[_counting()], publish=publish, state_dir=str(state))
    environment = {**os.environ, "HOOK_KEY": KEY}
    first = edge_vision("run", site, env=environment)
    wait_until(lambda: len(read_lines(lines)) >= 3, 60, "events without a receiver")
    seen = read_lines(lines)[:3]
    wait_until(lambda: {one["id"] for one in seen} <= on_disk(state), 60, "they are on disk")
    first.kill()
    first.wait(60)
    hook.start()
    second = edge_vision("run", site, env=environment)
    try:
        wait_until(lambda: {one["boot"] for one in hook.bodies()} > {one["boot"] for one in seen}, 60, "both are heard")
        second.send_signal(signal.SIGTERM)
        _, errors = second.communicate(timeout=60)
    finally:
        hook.kill()
    assert second.returncode == 0, errors
    arrived = {one["id"]: one for one in hook.bodies()}
    assert [arrived.get(one["id"]) for one in seen] == seen
