"""Which code listens for commands at which kind of sink: the whole list."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from edge_vision.core.commands import COMMANDS, Answer, Letter, Reply, answer_topic
from edge_vision.core.plugin import resolve
from edge_vision.publish.options import SinkOptions
from edge_vision.runtime.clock import Clock

LISTENERS: Final = {
    "zeromq": "edge_vision.publish.commands.zeromq:open_zeromq_commands",
    "mqtt": "edge_vision.publish.commands.mqtt:open_mqtt_commands",
}


@dataclass(frozen=True, slots=True)
class CommandOpening:
    """What a listener is told when it is opened: the names of site and cameras, the clock, and who takes commands.

    It calls `ignored` with the reason for what it does not pass on and nobody is told of, `unanswered` for an answer
    that could not be sent, and `progress` while it works.
    """

    site: str
    cameras: frozenset[str]
    clock: Clock
    take: Callable[[Letter, Reply], None]
    ignored: Callable[[str], None]
    unanswered: Callable[[str], None]
    progress: Callable[[], None]

    def answer_topic(self, letter: Letter) -> str:
        """Where the answer to a command goes when the command does not say; made of known names only."""
        source = letter.source if letter.source in self.cameras else ""
        return answer_topic(self.site, source, letter.what if letter.what in COMMANDS else "unknown")


class Listener(Protocol):
    """A place where commands come in, opened; used by one thread, which also closes it."""

    def turn(self) -> None:
        """Pass on what has come in, and send the answers that are ready. Waits a few hundredths of a second.

        Raises SinkError when the connection is lost; answers that are not sent then are lost.
        """


def open_listener(options: SinkOptions, opening: CommandOpening) -> AbstractContextManager[Listener]:
    """Open the listener of a sink that has `commands`. Raises SinkError on entering."""
    listener: AbstractContextManager[Listener] = resolve(LISTENERS[options.kind])(options, opening)
    return listener


def without_data(body: bytes, reason: str) -> bytes:
    """An answer that is too large, as one that says so."""
    answer = msgspec.json.decode(body, type=Answer)
    return msgspec.json.encode(msgspec.structs.replace(answer, ok=False, reason=reason, data=None, problems=None))
