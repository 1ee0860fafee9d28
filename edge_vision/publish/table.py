"""Which code opens which kind of sink: the whole list."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from edge_vision.core.message import Message
from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import History, Sink
from edge_vision.publish.options import SinkOptions
from edge_vision.runtime.clock import Clock

SINKS: Final = {
    "jsonl": "edge_vision.publish.jsonl:open_jsonl",
    "zeromq": "edge_vision.publish.zeromq.sink:open_zeromq",
    "mqtt": "edge_vision.publish.mqtt.sink:open_mqtt",
    "http": "edge_vision.publish.http.sink:open_http",
    "terminal": "edge_vision.publish.terminal:open_terminal",
}


def _quiet(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class SinkOpening:
    """What a sink is told when it is opened: the site's name, the clock, and what a broker should retain.

    `will` is the message a broker publishes when it loses the connection; `status` gives the site's newest status.
    A sink calls `progress` while it works on a long batch, and `on_dropped` for a message that the other side does not
    take, with the reason. It calls `forgotten` when the other side has lost what it acknowledged a short while ago:
    what is still kept of that is then handed to it again. `history` has what is kept of what was published, where the
    sink's options ask for it. `dropped_last` gives, by source and kind, the highest number that was dropped on its way
    to the sink. `notes` are what a sink leaves for its next opening.
    """

    site: str
    clock: Clock
    will: Message
    status: Callable[[], Message]
    progress: Callable[[], None] = _quiet
    on_dropped: Callable[[Message, str], None] = _quiet
    forgotten: Callable[[], None] = _quiet
    history: History | None = None
    dropped_last: Callable[[], Mapping[tuple[str, str], int]] = dict
    notes: dict[str, int] = field(default_factory=dict)


def open_sink(options: SinkOptions, opening: SinkOpening) -> AbstractContextManager[Sink]:
    """Open a sink of any kind. Raises SinkError on entering."""
    sink: AbstractContextManager[Sink] = resolve(SINKS[options.kind])(options, opening)
    return sink


def name_of(options: SinkOptions) -> str:
    """What logs, status and outbox call a sink: its kind, and its name or address, and who it is to a broker."""
    address = {
        "jsonl": lambda: str(getattr(options, "path", "")),
        "zeromq": lambda: str(getattr(options, "bind", "")),
        "mqtt": lambda: (
            f"{getattr(options, 'host', '')}:{getattr(options, 'port', '')} {getattr(options, 'client_id', None) or ''}"
        ),
        "http": lambda: str(getattr(options, "name", None) or getattr(options, "shown_url", "")),
    }.get(options.kind, str)()
    return f"{options.kind} {address}".rstrip()
