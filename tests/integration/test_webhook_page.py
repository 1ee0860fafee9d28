"""The receiver in docs/5-delivery.md is run as it stands there: it takes what is genuine, once, and nothing else."""

import os
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Start
from servers import wait_for_port

from edge_vision.core.errors import SinkError
from edge_vision.publish.http import sink
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock

PAGE = (ROOT / "docs/5-delivery.md").read_text()


class _Late(SystemClock):
    """Ten minutes behind."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=10)


def test_the_receiver_on_the_page_takes_what_is_genuine_once(
    start: Start, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key, an old signature, another body: 401. A double is answered and left out."""
    (block,) = re.findall(r"(?s)```python\n(.*?)```", PAGE.partition("## Webhook")[2])
    file = tmp_path / "receiver.py"
    file.write_text(block.replace("8000", str(free_port)))
    process = start(sys.executable, file, env={**os.environ, "WEBHOOK_KEY": "right"})
    wait_for_port(free_port)

    def post(key: str, clock: SystemClock, *messages: Any) -> None:
        monkeypatch.setenv("HOOK_KEY", key)
        url = f"http://127.0.0.1:{free_port}/"
        options = HttpSinkOptions.model_validate({"kind": "http", "url": url, "secret": {"env": "HOOK_KEY"}})
        opening = SinkOpening("test", clock, wire.will(), lambda: wire.status("online", {}))
        with open_sink(options, opening) as sink:
            sink.send(messages)

    wire = Wire("test", "boot", SystemClock())
    first, second = (wire.status("online", {}) for _ in range(2))
    post("right", SystemClock(), first, first)
    for key, clock in (("wrong", SystemClock()), ("right", _Late())):
        with pytest.raises(SinkError, match="answered 401 Unauthorized"):
            post(key, clock, second)
    _tampering(monkeypatch)
    with pytest.raises(SinkError, match="answered 401 Unauthorized"):
        post("right", SystemClock(), second)
    monkeypatch.undo()
    post("right", SystemClock(), second)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [f"status {one.id}\n" for one in (first, second)]


def _tampering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign another body than the one that is posted."""
    real: Callable[[bytes, int, bytes], str] = sink.sign
    monkeypatch.setattr(sink, "sign", lambda secret, seconds, body: real(secret, seconds, body + b" "))


def test_the_page_has_every_answer_that_means_something() -> None:
    """The table of answers is that of the code."""
    rows = [row for row in PAGE.splitlines() if row.startswith("| ")]
    (refused,) = (row for row in rows if "refused: dropped" in row)
    assert set(map(int, re.findall(r"\d{3}", refused.split("|")[1]))) == sink._REFUSED
    (soon,) = (row for row in rows if "posted again soon" in row)
    assert set(map(int, re.findall(r"\d{3}", soon.split("|")[1]))) == sink._SOON
    assert "up to five minutes" in soon
    assert sink._LONGEST_S == 300
