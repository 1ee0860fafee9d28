"""What a run of a site says: every message to the outbox and to each sink, from `starting` to the last word."""

from typing import Any, Final

from edge_vision.app.outbox import open_outbox, open_outlets
from edge_vision.config.site import Site
from edge_vision.core.message import Message
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Gap, Wire, new_boot
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.worker import Worker

_SINKS_S: Final = 2.0
"""How long the start waits for the sinks to open; one that fails goes on trying."""
_JOIN_S: Final = 0.5


class Voice:
    """The wire, the outbox and the sinks of a run; `put` may be called from any thread.

    Raises ConfigError when the outbox can never be used, OutboxInUseError when another process runs the site.
    """

    def __init__(self, site: Site, clock: Clock) -> None:
        self.state = "starting"
        self.wire = Wire(site.id, new_boot(clock), clock)
        self._status: Message = self.wire.status("starting", {})
        self.outbox = open_outbox(site, clock, self._tell_gap)
        opening = SinkOpening(site.id, clock, self.wire.will(), lambda: self._status)
        self.outlets = open_outlets(site.publish, opening, self.outbox)
        self._heard_late = any(options.kind == "zeromq" for options in site.publish)
        self._clock = clock
        self._opened_ns = 0
        self._told_all = False

    @property
    def workers(self) -> list[Worker]:
        """The threads of the outbox and of the sinks."""
        return ([] if self.outbox is None else [self.outbox.worker]) + [outlet.worker for outlet in self.outlets]

    def open(self) -> None:
        """Say `starting`, and wait for the sinks to open, for two seconds at most."""
        self.put(self._status)
        if self.outbox is not None:
            self.outbox.start()
        for outlet in self.outlets:
            outlet.worker.start()
        deadline_ns = self._clock.monotonic_ns() + int(_SINKS_S * 1e9)
        for outlet in self.outlets:
            outlet.tried.wait(max(0.0, (deadline_ns - self._clock.monotonic_ns()) / 1e9))
        self._opened_ns = self._clock.monotonic_ns()

    def let_subscribers_join(self) -> None:
        """Wait until half a second after the sockets were bound.

        A ZeroMQ subscriber that waited for the address looks for it again every 0.1 to 0.2 s.
        """
        if self._heard_late:
            waited_s = (self._clock.monotonic_ns() - self._opened_ns) / 1e9
            self._clock.sleep(max(0.0, _JOIN_S - waited_s))

    def put(self, message: Message) -> None:
        """Have a message delivered by every sink that takes it."""
        if self.outbox is not None:
            self.outbox.put(message)
        for outlet in self.outlets:
            outlet.put(message)

    def say(self, state: str, facts: dict[str, Any]) -> None:
        """Publish a status; called by one thread."""
        self.state = state
        self._status = self.wire.status(state, facts)
        self.put(self._status)

    def say_last(self, facts: dict[str, Any]) -> None:
        """Say `offline`, and let the sinks end when they have delivered it."""
        self.say("offline", facts)
        self._told_all = True
        for outlet in self.outlets:
            outlet.end()

    def _tell_gap(self, source: str, lost: Gap) -> None:
        """That messages were lost; what is found out when the sinks have ended is for those of the next run."""
        message = self.wire.gap(source, lost)
        if self._told_all and self.outbox is not None:
            self.outbox.put(message)
        else:
            self.put(message)
