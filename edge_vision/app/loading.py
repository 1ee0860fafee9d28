"""Loads and warms up the models of a site on a thread of its own, left behind when the start is called off."""

from collections.abc import Callable
from typing import Final

from edge_vision.app.check import Checked
from edge_vision.app.engines import Engines, load_engines
from edge_vision.app.warmup import warm_up
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import every
from edge_vision.runtime.systemd import Notifier
from edge_vision.runtime.worker import Worker

_MODEL_S: Final = 180.0
"""How long systemd may have to wait for one runtime to load a model; some build for minutes."""
_LOOK_S: Final = 0.25


class CalledOffError(Exception):
    """The start was called off."""


class Loading:
    """The models of one run. `again`: the service was ready before, and its watchdog has gone on."""

    def __init__(
        self, checked: Checked, notifier: Notifier, clock: Clock, called_off: Callable[[], bool], *, again: bool
    ) -> None:
        self.worker = Worker("load models", self._work, _MODEL_S, clock)
        self._checked = checked
        self._notifier = notifier
        self._clock = clock
        self._called_off = called_off
        self._again = again
        self._loaded: list[Engines] = []
        self._failed: list[Exception] = []

    def load(self) -> Engines:
        """Load one model after the other.

        Raises CalledOffError at once, whatever the thread does; NoBackendError or ModelError for what cannot be served.
        """
        self.worker.start()
        every(0.0, self._is_over, self._clock)
        if self._called_off():
            raise CalledOffError
        if self._failed:
            raise self._failed[0]
        return self._loaded[0]

    def _is_over(self) -> bool:
        if self._again and not self.worker.stuck:
            self._notifier.progress("loading models")
        return self.worker.join(_LOOK_S) or self._called_off()

    def _work(self, worker: Worker) -> None:
        del worker
        site = self._checked.site
        try:
            engines = load_engines(site, self._checked.bundles, self._go_on)
            warm_up(site, engines, self._clock, self._go_on)
        except Exception as error:  # noqa: BLE001 - raised by `load`, on the thread that waits for it
            self._failed.append(error)
        else:
            self._loaded.append(engines)

    def _go_on(self) -> None:
        """Between two steps: more time from systemd, and an end to it when one was asked for."""
        self._notifier.extend_timeout(_MODEL_S)
        self.worker.beat()
        if self._called_off():
            raise CalledOffError
