"""Runs a site from start to end: build, watch, drain, stop."""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge_vision.app.check import Checked, check_site
from edge_vision.app.commands_post import CommandPost
from edge_vision.app.engines import Engines, load_engines
from edge_vision.app.evidence import keeper_of, rings_of
from edge_vision.app.outbox import close_outbox, drain, open_outbox, open_outlets
from edge_vision.app.pipeline import open_road
from edge_vision.app.secrets import check_secrets
from edge_vision.app.servers import Servers
from edge_vision.app.signals import taken_signals
from edge_vision.app.supervisor import Supervisor
from edge_vision.app.tuning import Tuning
from edge_vision.app.unit import Unit
from edge_vision.app.warmup import warm_up
from edge_vision.capture.table import reopens, require_library
from edge_vision.core.errors import EXIT_DONE, EXIT_GAVE_UP, BackendError, MissingLibraryError
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Gap, Wire, new_boot
from edge_vision.runtime.clock import Clock, SystemClock
from edge_vision.runtime.loops import every, until
from edge_vision.runtime.systemd import Notifier
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

DRAIN_S: Final = 10.0
"""How long the end may take to deliver what is left."""
_SINKS_S: Final = 2.0
"""How long the start waits for the sinks to open; one that fails goes on trying."""
_MODEL_S: Final = 180.0
"""How long systemd may have to wait for one runtime to load a model; some build for minutes."""
_FAREWELL_S: Final = 1.0
_JOIN_S: Final = 0.5
_TICK_S: Final = 0.25
_PATIENCE_S: Final = 12.0
"""How long a reload waits for threads that are with a camera or broker that does not answer."""
_SWITCH_INTERVAL_S: Final = 0.0005
"""How long one thread may keep the interpreter: 5 ms, the default, is a frame's whole budget."""


class _StoppedEarlyError(Exception):
    """The start was called off."""


class Daemon:
    """One run of one site."""

    def __init__(self, checked: Checked, clock: Clock, *, again: bool = False) -> None:
        self.next: Checked | None = None
        """What is to run in this one's place, when that is why it ended."""
        self.asked_to_reload = False
        """Whether the site file may have changed since it was read."""
        self._again = again
        self._checked = checked
        self._clock = clock
        # A plain flag: a signal handler runs between two steps of the main thread, and would wait for ever for the
        # lock of an Event that this thread holds.
        self._asked_to_stop = False
        self._state = "starting"
        self._wire = Wire(checked.site.id, new_boot(clock), clock)
        self._notifier = Notifier()
        self._status: Message = self._wire.status("starting", {})
        opening = SinkOpening(checked.site.id, clock, self._wire.will(), lambda: self._status)
        self._outbox = open_outbox(checked.site, clock, self._tell_gap)
        self._outlets = open_outlets(checked.site.publish, opening, self._outbox)
        self._rings = rings_of(checked.site)
        self._evidence = keeper_of(checked.site, self._rings, self._wire, self._put, clock)
        self._units: list[Unit] = []
        self._servers: list[Servers] = []
        self._loading: Worker | None = None
        self._models: Callable[[], dict[str, Any]] = dict
        self._opened_ns = 0
        self._drained_ns = 0
        self._abandoned = False
        self._told_all = False
        self._commands = CommandPost(checked.site, self._wire.boot, lambda: self._state, self._take_over, clock)

    def reload(self) -> None:
        """Ask for the site file to be read again; the run ends when it is valid, for `next` to take its place."""
        self.asked_to_reload = True

    def stop(self) -> None:
        """Ask the run to end: sources first, then what is under way is delivered."""
        self._asked_to_stop = True

    def run(self, max_seconds: float | None) -> int:
        """Run until every source has ended, `stop()` or `max_seconds`; the process's exit code.

        Raises NoBackendError or ModelError when a model cannot be served, after closing what was opened.
        """
        self._put(self._status)
        if self._outbox is not None:
            self._outbox.start()
        self._open_sinks()
        reason, gave_up, counts = "done", "", dict[str, Any]()
        try:
            supervisor = self._start()
            gave_up = self._watch(supervisor, max_seconds)
            self._finish_analysis()
            reason, counts = (
                gave_up or ("reload" if self.next is not None else "done"),
                {**self._models(), **supervisor.facts()},
            )
        except _StoppedEarlyError:
            _log.info("asked to stop before the first frame")
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "").removesuffix(":") or type(error).__name__
            self._let_subscribers_join()  # who waits for this site should hear why it does not come
            raise
        finally:
            undelivered = self._close_sinks({"reason": reason, **counts})
        flawless = all(unit.flawless for unit in self._units)
        lost = sum(outlet.lost for outlet in self._outlets)
        if undelivered:
            _log.error("gave up after %.0f s: %d messages undelivered", DRAIN_S, undelivered)
        if lost:
            _log.warning("%d messages were dropped on the way out; the last status says where", lost)
        if gave_up:
            _log.error("gave up: %s", gave_up)
        kept = sum(outlet.kept for outlet in self._outlets)
        if kept:
            _log.warning("%d messages wait in the outbox for the next run", kept)
        ends_by_itself = not self._asked_to_stop and self.next is None
        if (lost or kept) and ends_by_itself:  # it is done when everything is delivered
            return EXIT_GAVE_UP
        gone = any(outlet.gone for outlet in self._outlets)
        return EXIT_DONE if flawless and not (undelivered or gave_up or gone) else EXIT_GAVE_UP

    @property
    def left_behind(self) -> bool:
        """Whether a thread still runs that cannot be ended: then only `os._exit` ends the process."""
        workers = [worker for unit in self._units for worker in (unit.capture, unit.analysis)]
        checks = any(not servers.join(0.0) for servers in self._servers)
        workers += [] if self._outbox is None else [self._outbox.worker]
        workers += [out.worker for out in self._outlets] + ([] if self._loading is None else [self._loading])
        workers += [] if self._evidence is None else [self._evidence.worker]
        return self._abandoned or checks or self._commands.left_behind or any(worker.alive for worker in workers)

    def wait(self) -> None:
        """Be patient for a moment; systemd hears that it is meant so."""
        self._notifier.progress("reloading")
        self._clock.sleep(_TICK_S)

    def _open_sinks(self) -> None:
        for outlet in self._outlets:
            outlet.worker.start()
        deadline_ns = self._clock.monotonic_ns() + int(_SINKS_S * 1e9)
        for outlet in self._outlets:
            outlet.tried.wait(max(0.0, (deadline_ns - self._clock.monotonic_ns()) / 1e9))
        self._opened_ns = self._clock.monotonic_ns()

    def _start(self) -> Supervisor:
        """Load and warm up every model, then let the cameras in."""
        site = self._checked.site
        for camera in site.cameras:
            require_library(camera.source)
        engines = self._load()
        self._units = [
            Unit(camera, road, self._deliver, self._tell, self._clock, tuning, self._rings.get(camera.id))
            for camera, tuning in ((camera, Tuning(camera)) for camera in site.cameras)
            for road in (partial(open_road, camera, engines, self._clock, {}, tuning),)
        ]
        kept = self._evidence
        self._models = lambda: {"models": engines.facts(), **({} if kept is None else {"evidence": kept.facts()})}
        self._servers = [served.servers for served in engines if served.servers is not None]
        supervisor = Supervisor(
            self._units,
            self._outlets,
            lambda state, more: self._publish_status(state, {**self._models(), **more}),
            self._notifier,
            self._clock,
            self._servers,
            self._outbox,
            self._commands,
        )
        if any(not reopens(camera.source) for camera in site.cameras):
            self._let_subscribers_join()  # the first frames of a recording count, too
        if kept is not None:
            kept.start()
        for unit in self._units:
            unit.start()
        self._commands.start(self._units, kept)
        self._notifier.ready(supervisor.summary())
        _log.info("site %s: started, cameras: %d", site.id, len(self._units))
        return supervisor

    def _load(self) -> Engines:
        """Load and warm up every model, one after the other, on a thread that is left behind when it must stop now."""
        site = self._checked.site
        loaded: list[Engines] = []
        failed: list[Exception] = []

        def load(worker: Worker) -> None:
            del worker
            try:
                engines = load_engines(site, self._checked.bundles, self._go_on)
                warm_up(site, engines, self._clock, self._go_on)
            except Exception as error:  # noqa: BLE001 - raised below, on the thread that waits for it
                failed.append(error)
            else:
                loaded.append(engines)

        self._loading = loading = Worker("load models", load, _MODEL_S, self._clock)
        loading.start()
        every(0.0, lambda: self._has_loaded(loading), self._clock)
        if self._asked_to_stop:
            raise _StoppedEarlyError
        if failed:
            raise failed[0]
        return loaded[0]

    def _has_loaded(self, loading: Worker) -> bool:
        if self._again and not loading.stuck:  # the service was ready before, and the watchdog has gone on
            self._notifier.progress("loading models")
        return loading.join(_TICK_S) or self._asked_to_stop

    def _take_over(self) -> None:
        """End this run for that of the site file as it is now. Raises ConfigError; then this one goes on."""
        self.next = _checked(self._checked.site.file)
        _log.info("site %s: reloading %s", self._checked.site.id, self._checked.site.file)

    def _go_on(self) -> None:
        """Between two steps of the start: more time from systemd, and an end to it when one was asked for."""
        self._notifier.extend_timeout(_MODEL_S)
        if self._loading is not None:
            self._loading.beat()
        if self._asked_to_stop:
            raise _StoppedEarlyError

    def _let_subscribers_join(self) -> None:
        """Wait until half a second after the sockets were bound.

        A ZeroMQ subscriber that waited for the address looks for it again every 0.1 to 0.2 s.
        """
        if any(options.kind == "zeromq" for options in self._checked.site.publish):
            waited_s = (self._clock.monotonic_ns() - self._opened_ns) / 1e9
            self._clock.sleep(max(0.0, _JOIN_S - waited_s))

    def _watch(self, supervisor: Supervisor, max_seconds: float | None) -> str:
        """Look after the workers until the end; why the process cannot go on, or nothing."""
        end_ns = None if max_seconds is None else self._clock.monotonic_ns() + int(max_seconds * 1e9)

        def tick() -> bool:
            late = end_ns is not None and self._clock.monotonic_ns() >= end_ns
            if self.asked_to_reload and self.next is None:
                self.asked_to_reload = False  # before it is read: who asks meanwhile asks again
                if not self._commands.reload():
                    self.asked_to_reload = True
            return supervisor.tick() or late or self._asked_to_stop or self.next is not None

        every(_TICK_S, tick, self._clock)
        self._abandoned = any(worker.alive for worker in supervisor.abandoned)
        return supervisor.gave_up

    def _finish_analysis(self) -> None:
        """Readers before writers: no more frames, then the frames at hand, all within the time to drain."""
        self._commands.stop()
        if self.next is None:
            self._notifier.stopping()
        else:
            self._notifier.reloading()
        for unit in self._units:
            unit.stop_capture()
        self._drained_ns = self._clock.monotonic_ns() + int(DRAIN_S * 1e9)
        deadline_ns = self._drained_ns - int(DRAIN_S / 2 * 1e9)
        for unit in self._units:
            if not unit.analysis.join((deadline_ns - self._clock.monotonic_ns()) / 1e9):
                unit.stop_analysis()
        if self._evidence is not None:
            deadline_ns = self._drained_ns - int(DRAIN_S / 4 * 1e9)
            self._evidence.finish(max(0.0, (deadline_ns - self._clock.monotonic_ns()) / 1e9))

    def _close_sinks(self, facts: dict[str, Any]) -> int:
        """Say offline, deliver what is queued within the time to drain; how many messages could not be."""
        self._publish_status("offline", facts)
        self._told_all = True
        for outlet in self._outlets:
            outlet.end()
        deadline_ns = self._drained_ns or self._clock.monotonic_ns() + int(DRAIN_S * 1e9)
        asked = self._asked_to_stop or self.next is not None
        drain(self._outlets, self._outbox, self._clock, deadline_ns, asked=asked)
        undelivered = sum(outlet.undelivered for outlet in self._outlets)
        workers = [unit.capture for unit in self._units] + [outlet.worker for outlet in self._outlets]
        deadline_ns = self._clock.monotonic_ns() + int(_FAREWELL_S * 1e9)
        for worker in workers:  # healthy ones are through within a frame; the others are left behind
            worker.join((deadline_ns - self._clock.monotonic_ns()) / 1e9)
        return undelivered + (0 if self._outbox is None else close_outbox(self._outbox))

    def _deliver(self, scene: Scene) -> None:
        self._put(self._wire.detections(scene))
        self._tell(scene)

    def _tell(self, scene: Scene) -> None:
        messages = self._wire.events(scene)
        for message in messages:
            self._put(message)
        if self._evidence is not None:
            self._evidence.hear(scene, messages)

    def _tell_gap(self, source: str, lost: Gap) -> None:
        """That messages were lost; what is found out when the sinks have ended is for those of the next run."""
        message = self._wire.gap(source, lost)
        if self._told_all and self._outbox is not None:
            self._outbox.put(message)
        else:
            self._put(message)

    def _put(self, message: Message) -> None:
        if self._outbox is not None:
            self._outbox.put(message)
        for outlet in self._outlets:
            outlet.put(message)

    def _publish_status(self, state: str, facts: dict[str, Any]) -> None:
        self._state = state
        self._status = self._wire.status(state, facts)
        self._put(self._status)


def run_site(file: Path, max_seconds: float | None = None) -> int:
    """Check a site file and run it in this process, each time it is reloaded anew; the exit code.

    Raises ConfigError, NoBackendError, ModelError or MissingLibraryError before anything is analyzed.
    """
    checked, clock = _checked(file), SystemClock()
    before: Checked | None = None
    code, runs = EXIT_DONE, 0
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    end_ns = None if max_seconds is None else clock.monotonic_ns() + int(max_seconds * 1e9)
    with taken_signals() as signals:

        def run() -> bool:
            nonlocal checked, before, code, runs
            runs += 1
            daemon = Daemon(checked, clock, again=runs > 1)
            signals.listen(daemon)
            left_s = None if end_ns is None else max(0.0, (end_ns - clock.monotonic_ns()) / 1e9)
            try:
                code = daemon.run(left_s)
            except (BackendError, MissingLibraryError) as error:
                if before is None or daemon.left_behind:
                    raise
                _log.error("the reloaded site cannot start: %s; the one before goes on", error)
                checked, before = before, None
                return signals.asked_to_stop
            if daemon.next is not None:
                until(lambda: not daemon.left_behind, daemon.wait, _PATIENCE_S, clock)
            if daemon.left_behind:
                _log.info("ending beside a thread that still waits for its camera, broker or runtime")
                _leave(code if daemon.next is None else EXIT_GAVE_UP)  # only a new process is clean
            if daemon.next is None:
                return True
            checked, before = daemon.next, checked
            return signals.asked_to_stop

        every(0.0, run, clock)
    return code


def _checked(file: Path) -> Checked:
    """A site that may run: without a known mistake, with secrets that can be read. Raises ConfigError."""
    checked = check_site(file)
    check_secrets(checked.site)
    return checked


def _leave(code: int) -> None:
    """End the process although threads hang: an orderly end would wait for them."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
