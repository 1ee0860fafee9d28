"""Watches the workers: replaces a capture that hangs, gives up when nothing else helps, tells how the site is."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge_vision.app.commands_post import CommandPost
from edge_vision.app.outlet import Outlet
from edge_vision.app.servers import Servers
from edge_vision.app.unit import Unit
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.systemd import Notifier
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_STATUS_NS: Final = 10_000_000_000
_PAUSE_NS: Final = 3_000_000_000
"""A look this late means that the process itself was held: a snapshot, SIGSTOP, a machine without a second to spare."""
_MOST_ABANDONED: Final = 8
"""Threads left behind for good before the process is better started afresh."""


class Supervisor:
    """Looks at every worker about four times a second."""

    def __init__(
        self,
        units: Sequence[Unit],
        outlets: Sequence[Outlet],
        publish_status: Callable[[str, dict[str, Any]], None],
        notifier: Notifier,
        clock: Clock,
        servers: Sequence[Servers] = (),
        outbox: Outbox | None = None,
        commands: CommandPost | None = None,
        evidence: EvidenceKeeper | None = None,
    ) -> None:
        self.gave_up = ""
        self.abandoned: list[Worker] = []
        self._units = units
        self._outlets = outlets
        self._publish_status = publish_status
        self._notifier = notifier
        self._clock = clock
        self._servers = servers
        self._outbox = outbox
        self._commands = commands
        self._evidence = evidence
        self._last_states: tuple[Any, ...] = ()
        self._last_status_ns = 0
        self._last_tick_ns = clock.monotonic_ns()

    def tick(self) -> bool:
        """One look; True when the site has nothing more to do, or this process cannot do it."""
        last_ns, self._last_tick_ns = self._last_tick_ns, self._clock.monotonic_ns()
        if self._last_tick_ns - last_ns > _PAUSE_NS:  # the whole process stood still, and so did every worker
            _log.warning("the process was stopped for %.1f s", (self._last_tick_ns - last_ns) / 1e9)
            beside = [] if self._evidence is None else [self._evidence.worker]
            for worker in self._workers() + beside:
                worker.beat()
            return False
        self._mind_captures()
        self._mind_the_rest()
        for servers in self._servers:
            servers.mind()
        if self._evidence is not None:
            self._evidence.mind()  # whatever becomes of it, the process goes on
        if self.gave_up:
            return True
        self._tell()
        self._notifier.progress(self.summary())
        nobody_listens = bool(self._outlets) and all(outlet.gone for outlet in self._outlets)
        return nobody_listens or all(unit.done for unit in self._units)

    @property
    def state(self) -> str:
        """The site's state: online, or degraded when a camera, sink or server does not work."""
        fine = {"online", "ended", "starting", "disabled"}
        return "online" if all(state in fine for state in self._states()) else "degraded"

    def _states(self) -> tuple[str, ...]:
        units, outlets = (unit.state for unit in self._units), (outlet.state for outlet in self._outlets)
        own = tuple(one.state for one in (self._outbox, self._evidence) if one is not None)
        inlets = (inlet.state for inlet in self._commands.inlets) if self._commands else ()
        return (*units, *outlets, *own, *(server.state for servers in self._servers for server in servers), *inlets)

    def facts(self) -> dict[str, Any]:
        """What the status message says."""
        return {
            "cameras": [unit.facts() for unit in self._units],
            "publish": [outlet.facts() for outlet in self._outlets],
            **({} if self._outbox is None else {"outbox": self._outbox.facts()}),
            **({"commands": self._commands.facts()} if self._commands and self._commands.inlets else {}),
        }

    def summary(self) -> str:
        """One line for systemctl status."""
        online = sum(unit.state == "online" for unit in self._units)
        frames = sum(unit.tally["analyzed"] for unit in self._units)
        return f"{self.state}: {online} of {len(self._units)} cameras online, {frames} frames analyzed"

    def _workers(self, *, captures: bool = True) -> list[Worker]:
        own = [unit.analysis for unit in self._units] + [outlet.worker for outlet in self._outlets]
        own += [] if self._outbox is None else [self._outbox.worker]
        own += self._commands.workers if self._commands else []
        return own + [unit.capture for unit in self._units] if captures else own

    def _mind_captures(self) -> None:
        for unit in self._units:
            if not unit.capture.stuck or unit.capture.stopping.is_set():
                continue
            hung = unit.capture
            _log.error("%s: silent for %.0f s, left behind at:\n%s", hung.name, hung.silent_s, hung.stack())
            self.abandoned = [worker for worker in self.abandoned if worker.alive]
            if len(self.abandoned) >= _MOST_ABANDONED:
                self.gave_up = f"{len(self.abandoned)} capture threads hang"
                return
            self.abandoned.append(unit.replace_capture())

    def _mind_the_rest(self) -> None:
        for worker in self._workers(captures=False):
            if worker.stuck:  # it may hold a device or a half-written line: only a new process is clean
                _log.error("%s: silent for %.0f s at:\n%s", worker.name, worker.silent_s, worker.stack())
                self.gave_up = f"{worker.name} hangs"
            elif worker.error is not None:
                self.gave_up = f"{worker.name} ended: {worker.error}"

    def _tell(self) -> None:
        states = (*self._states(), *(unit.overrides for unit in self._units))
        now_ns = self._clock.monotonic_ns()
        if states != self._last_states or now_ns - self._last_status_ns >= _STATUS_NS:
            self._last_states, self._last_status_ns = states, now_ns
            self._publish_status(self.state, self.facts())
