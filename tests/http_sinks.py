"""A webhook sink on a clock that stands still, what it is given, and what becomes of it."""

import json
from typing import Any

import pytest

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.testing.fakes import FakeClock, make_message


class Drops(list[tuple[str, str]]):
    """The ids of dropped messages, each with the reason."""

    def __call__(self, message: Message, reason: str) -> None:
        """Remember one."""
        self.append((message.id, reason))


def hook_options(url: str, **given: Any) -> HttpSinkOptions:
    """Those of a webhook at this address."""
    return HttpSinkOptions.model_validate({"kind": "http", "url": url, "timeout_s": 5.0, **given})


def numbered_messages(count: int) -> list[Message]:
    """So many messages, each with its number in its body."""
    return [make_message(number, body=json.dumps({"n": number}).encode()) for number in range(1, count + 1)]


def failure_of(sink: Sink, messages: list[Message]) -> SinkError:
    """What is raised for them."""
    with pytest.raises(SinkError) as caught:
        sink.send(messages)
    return caught.value


def is_kept(sink: Any) -> bool:
    """Whether the connection is to be used again."""
    return sink._poster._socket is not None


def outcome_of(options: HttpSinkOptions, opening: SinkOpening) -> SinkError | None:
    """What becomes of one message; any other error fails the test."""
    try:
        with open_sink(options, opening) as sink:
            sink.send(numbered_messages(1))
    except SinkError as error:
        return error
    return None


def open_at_noon(drops: Drops) -> SinkOpening:
    """On a clock that stands still at noon."""
    clock = FakeClock()
    wire = Wire("test", "boot", clock)
    return SinkOpening("test", clock, wire.will(), lambda: wire.status("online", {}), on_dropped=drops)
