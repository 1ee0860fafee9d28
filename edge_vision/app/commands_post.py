"""Where commands come in: a thread for each broker or socket that takes some, and one that carries them out."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge_vision.app.commands import Desk
from edge_vision.app.commands_effects import Effects, House
from edge_vision.app.unit import Unit
from edge_vision.config.site import Site
from edge_vision.core.commands import Evidence, Letter, Reply
from edge_vision.core.errors import ConfigError
from edge_vision.publish.commands.table import CommandOpening, open_listener
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.table import name_of
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import every, keep_trying
from edge_vision.runtime.tally import Tally
from edge_vision.runtime.trouble import Trouble, traceback_of
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 60.0
_COUNTS: Final = ("received", "done", "refused", "ignored", "unanswered")
_END_S: Final = 1.0
"""How long the end may take to carry out what waits, and to send the answers."""
_FAREWELL_S: Final = 2.0


class Inlet:
    """A broker or socket at which commands come in, and the thread that listens there."""

    def __init__(self, options: SinkOptions, desk: Desk, site: str, cameras: frozenset[str], clock: Clock) -> None:
        commands: Any = getattr(options, "commands", None)
        self.name = f"{options.kind} {commands.bind}" if hasattr(commands, "bind") else name_of(options)
        self.state = "starting"
        self._allowed = frozenset[str](commands.allow)
        self._options = options
        self._desk = desk
        self._tally = Tally()
        self._trouble = Trouble()
        self._noted: set[str] = set()
        limit_s = _LIMIT_S + 2 * getattr(options, "timeout_s", 0.0)
        self.worker = Worker(f"commands {self.name}", self._listen, limit_s, clock)
        self._opening = CommandOpening(
            site, cameras, clock, self._take, self._ignored, self._unanswered, self.worker.beat
        )

    def facts(self) -> dict[str, Any]:
        """What the site's status says of this inlet."""
        counts = self._tally.snapshot()
        return {
            "commands": self.name,
            "state": self.state,
            **{name: counts.get(name, 0) for name in _COUNTS},
            **({"error": self._trouble.text} if self._trouble.text else {}),
        }

    def _listen(self, worker: Worker) -> None:
        def attempt() -> None:
            with open_listener(self._options, self._opening) as listener:
                self.state = "online"
                if self._trouble.clear():
                    _log.info("commands %s: taken again", self.name)

                def turn() -> bool:
                    worker.beat()
                    listener.turn()
                    return worker.stopping.is_set()

                every(0.0, turn, worker.clock)

        keep_trying(attempt, worker, Backoff(most_s=5.0), on_failure=self._failed)

    def _failed(self, error: Exception, delay_s: float) -> None:
        self.state = "lost"
        if self._trouble.is_news(error):
            text = "commands %s: %s; trying again, next in %.1f s"
            _log.warning(text, self.name, error, delay_s, exc_info=traceback_of(error))

    def _take(self, letter: Letter, reply: Reply) -> None:
        self._tally.add("received")

        def counted(answer: bytes, ok: bool) -> None:
            self._tally.add("done" if ok else "refused")
            reply(answer, ok)

        self._desk.take(letter, self._allowed, counted)

    def _ignored(self, reason: str) -> None:
        self._tally.add("ignored")
        self._note("ignored", reason)

    def _unanswered(self, reason: str) -> None:
        self._tally.add("unanswered")
        self._note("unanswered", f"an answer could not be sent: {reason}")

    def _note(self, what: str, reason: str) -> None:
        """Say it once; the status counts the others."""
        if what not in self._noted:
            self._noted.add(what)
            _log.warning("commands %s: %s; more of the kind are counted in the status", self.name, reason)


class CommandPost:
    """The commands of a site: their inlets, and the desk behind them. A site that takes none can still be reloaded."""

    def __init__(
        self, site: Site, boot: str, state: Callable[[], str], reload: Callable[[], None], clock: Clock
    ) -> None:
        cameras = frozenset(camera.id for camera in site.cameras)
        self._desk = Desk(site.id, boot, cameras, clock)
        self._house = House(state, reload, clock.monotonic_ns())
        self._clock = clock
        self._effects: Effects | None = None
        self._checking = False
        self.inlets = [
            Inlet(options, self._desk, site.id, cameras, clock)
            for options in site.publish
            if getattr(options, "commands", None) is not None
        ]

    @property
    def workers(self) -> list[Worker]:
        """The threads to be minded."""
        return [self._desk.worker, *(inlet.worker for inlet in self.inlets)]

    def facts(self) -> list[dict[str, Any]]:
        """What the site's status says of its inlets."""
        return [inlet.facts() for inlet in self.inlets]

    def start(self, units: Sequence[Unit], evidence: Evidence | None = None) -> None:
        """Take commands for these cameras from now on."""
        self._effects = Effects(
            {unit.camera.id: unit for unit in units}, self._house, self._desk, self._clock, evidence
        )
        self._desk.carry_out, self._desk.mind = self._effects.carry_out, self._effects.mind
        for worker in self.workers:
            worker.start()

    def reload(self) -> bool:
        """Read the site file again, as a signal asks for; what is wrong with it is logged. False: ask again later."""
        if self._checking:
            return False

        def check() -> None:
            try:
                self._house.reload()
            except ConfigError as error:
                _log.error("reload refused, the site goes on as it is:\n%s", error)
            finally:
                self._checking = False

        self._checking = True
        taken = self._desk.soon(check)
        if not taken:
            self._checking = False
        return taken

    def stop(self) -> None:
        """Carry out what waits, answer everybody, and listen no more: within two seconds."""
        if self._effects is None:
            return
        self._desk.close()
        self._desk.worker.join(_END_S)
        self._effects.end()
        for inlet in self.inlets:
            inlet.worker.stop()
        deadline_ns = self._clock.monotonic_ns() + int(_END_S * 1e9)
        for inlet in self.inlets:
            inlet.worker.join((deadline_ns - self._clock.monotonic_ns()) / 1e9)

    @property
    def left_behind(self) -> bool:
        """Whether a thread still runs, after two seconds at most for the last goodbye."""
        deadline_ns = self._clock.monotonic_ns() + int(_FAREWELL_S * 1e9)
        return any(not worker.join((deadline_ns - self._clock.monotonic_ns()) / 1e9) for worker in self.workers)
