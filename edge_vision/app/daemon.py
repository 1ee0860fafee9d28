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
from edge_vision.app.ending import Ending
from edge_vision.app.engines import Engines
from edge_vision.app.evidence import keeper_of, rings_of
from edge_vision.app.loading import CalledOffError, Loading
from edge_vision.app.pipeline import open_road
from edge_vision.app.secrets import check_secrets
from edge_vision.app.servers import Servers
from edge_vision.app.signals import taken_signals
from edge_vision.app.supervisor import Supervisor
from edge_vision.app.tuning import Tuning
from edge_vision.app.unit import Unit
from edge_vision.app.voice import Voice
from edge_vision.capture.table import reopens, require_library
from edge_vision.config.site import Camera
from edge_vision.core.errors import EXIT_DONE, EXIT_GAVE_UP, BackendError, MissingLibraryError
from edge_vision.core.scene import Scene
from edge_vision.runtime.clock import Clock, SystemClock
from edge_vision.runtime.loops import every, until
from edge_vision.runtime.systemd import Notifier

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_PATIENCE_S: Final = 12.0
"""How long a reload waits for threads that are with a camera or broker that does not answer."""
_SWITCH_INTERVAL_S: Final = 0.0005
"""How long one thread may keep the interpreter: 5 ms, the default, is a frame's whole budget."""


class Daemon:
    """One run of one site."""

    def __init__(self, checked: Checked, clock: Clock, *, again: bool = False) -> None:
        self.next: Checked | None = None
        """What is to run in this one's place, when that is why it ended."""
        self.asked_to_reload = False
        """Whether the site file may have changed since it was read."""
        self._checked = checked
        self._clock = clock
        # A plain flag: a signal handler runs between two steps of the main thread, and would wait for ever for the
        # lock of an Event that this thread holds.
        self._asked_to_stop = False
        self._notifier = Notifier()
        self._voice = voice = Voice(checked.site, clock)
        self._ending = Ending(voice, clock)
        self._rings = rings_of(checked.site)
        self._evidence = keeper_of(checked.site, self._rings, voice.wire, voice.put, clock)
        self._units: list[Unit] = []
        self._servers: list[Servers] = []
        self._loading = Loading(checked, self._notifier, clock, lambda: self._asked_to_stop, again=again)
        self._models: Callable[[], dict[str, Any]] = dict
        self._abandoned = False
        self._commands = CommandPost(checked.site, voice.wire.boot, lambda: voice.state, self._take_over, clock)

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
        self._voice.open()
        reason, gave_up, counts = "", "", dict[str, Any]()
        try:
            supervisor = self._start()
            gave_up = self._watch(supervisor, max_seconds)
            self._finish_analysis()
            reason, counts = gave_up, {**self._models(), **supervisor.facts()}
        except CalledOffError:
            self._notifier.stopping()
            _log.info("asked to stop before the first frame")
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "").removesuffix(":") or type(error).__name__
            self._voice.let_subscribers_join()  # who waits for this site should hear why it does not come
            raise
        finally:
            if self._asked_to_stop:
                self.next = None
            ending = "stop" if self._asked_to_stop else "done" if self.next is None else "reload"
            ends_by_itself = ending == "done"
            self._ending.close_sinks(self._units, {"reason": reason or ending, **counts}, by_itself=ends_by_itself)
        return self._ending.exit_code(self._units, gave_up, by_itself=ends_by_itself)

    @property
    def left_behind(self) -> bool:
        """Whether a thread still runs that cannot be ended: then only `os._exit` ends the process."""
        workers = [worker for unit in self._units for worker in (unit.capture, unit.analysis)]
        workers += [self._loading.worker, *self._voice.workers]
        checks = any(not servers.join(0.0) for servers in self._servers)
        checks = checks or (self._evidence is not None and self._evidence.left_behind)
        return self._abandoned or checks or self._commands.left_behind or any(worker.alive for worker in workers)

    def wait(self) -> None:
        """Be patient for a moment; systemd hears that it is meant so."""
        self._notifier.progress("reloading")
        self._clock.sleep(_TICK_S)

    def _start(self) -> Supervisor:
        """Load and warm up every model, then let the cameras in."""
        if self._asked_to_stop:
            raise CalledOffError
        site = self._checked.site
        for camera in site.cameras:
            require_library(camera.source)
        engines = self._loading.load()
        self._units = [self._unit(camera, engines) for camera in site.cameras]
        kept = self._evidence
        self._models = lambda: {"models": engines.facts(), **({} if kept is None else {"evidence": kept.facts()})}
        self._servers = [served.servers for served in engines if served.servers is not None]
        supervisor = Supervisor(
            self._units,
            self._voice.outlets,
            lambda state, more: self._voice.say(state, {**self._models(), **more}),
            self._notifier,
            self._clock,
            self._servers,
            self._voice.outbox,
            self._commands,
            kept,
        )
        if any(not reopens(camera.source) for camera in site.cameras):
            self._voice.let_subscribers_join()  # the first frames of a recording count, too
        if kept is not None:
            kept.start()
        for unit in self._units:
            unit.start()
        self._commands.start(self._units, kept)
        self._notifier.ready(supervisor.summary())
        _log.info("site %s: started, cameras: %d", site.id, len(self._units))
        return supervisor

    def _unit(self, camera: Camera, engines: Engines) -> Unit:
        tuning = Tuning(camera)
        road = partial(open_road, camera, engines, self._clock, {}, tuning)
        return Unit(camera, road, self._deliver, self._tell, self._clock, tuning, self._rings.get(camera.id))

    def _take_over(self) -> None:
        """End this run for that of the site file as it is now. Raises ConfigError; then this one goes on."""
        self.next = _checked(self._checked.site.file)
        _log.info("site %s: reloading %s", self._checked.site.id, self._checked.site.file)

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
        """Take no more commands and frames, and see to those at hand."""
        self._commands.stop()
        if self.next is None or self._asked_to_stop:
            self._notifier.stopping()
        else:
            self._notifier.reloading()
        self._ending.finish_analysis(self._units, self._evidence)

    def _deliver(self, scene: Scene) -> None:
        self._voice.put(self._voice.wire.detections(scene))
        self._tell(scene)

    def _tell(self, scene: Scene) -> None:
        messages = self._voice.wire.events(scene)
        for message in messages:
            self._voice.put(message)
        if self._evidence is not None:
            self._evidence.hear(scene, messages)


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
                return False
            if daemon.next is not None:
                until(lambda: not daemon.left_behind, daemon.wait, _PATIENCE_S, clock)
            if daemon.left_behind:
                _log.info("ending beside a thread that still waits for its camera, broker or runtime")
                ends = daemon.next is None or signals.asked_to_stop
                _leave(code if ends else EXIT_GAVE_UP)  # only a new process is clean
            if daemon.next is None:
                return True
            # One that is asked to stop now is begun all the same: it ends at once, and its last word is not `reload`.
            checked, before = daemon.next, checked
            return False

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
