"""The detect stage of a model with servers: the first that is online answers, else this machine does."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

from edge_vision.app.servers import Proven, Server, Servers
from edge_vision.core.errors import BackendError
from edge_vision.core.protocols import Stage, Tunable
from edge_vision.core.scene import Scene
from edge_vision.runtime.clock import Clock


class Standby:
    """Asks the servers in turn; a frame that one fails goes on to the next, and then to the stage of this machine."""

    def __init__(
        self,
        servers: Servers,
        open_stage: Callable[[Proven], AbstractContextManager[Stage]],
        local: Stage,
        clock: Clock,
    ) -> None:
        self._servers = servers
        self._open_stage = open_stage
        self._local = local
        self._now = clock.monotonic_ns
        self._opened: dict[Server, tuple[Proven, Stage, ExitStack]] = {}
        self._retuned: Any = None

    def retune(self, options: Any) -> None:
        """Another confidence from the next frame on, whoever answers."""
        self._retuned = options
        for stage in (self._local, *(stage for _, stage, _ in self._opened.values())):
            _retune(stage, options)

    def __call__(self, scene: Scene) -> Scene:
        """The scene with what was seen, and by whom. Raises what the stage of this machine raises."""
        first = self._now()
        for server, proven in self._servers.online():
            asked = self._now()
            try:
                stage = self._stage(server, proven)
                if stage is None:
                    continue
                seen = stage(scene)
            except BackendError as error:
                self._drop(server)
                server.lose(proven, error)
            else:
                self._servers.answered(server)
                return _told(seen, asked - first)
        asked = self._now()
        seen = self._local(scene)
        self._servers.stood_in()
        return _told(seen, asked - first)

    def close(self) -> None:
        """Close every connection."""
        for server in list(self._opened):
            self._drop(server)

    def _stage(self, server: Server, proven: Proven) -> Stage | None:
        """The stage on a connection to whom was proven; None while that has to be proven again first."""
        opened = self._opened.get(server)
        if opened is not None and opened[0] is proven:
            return opened[1]
        self._drop(server)
        if not server.fresh:
            server.mind(now=True)
            return None
        resources = ExitStack()
        stage = resources.enter_context(self._open_stage(proven))
        if self._retuned is not None:
            _retune(stage, self._retuned)
        self._opened[server] = (proven, stage, resources)
        return stage

    def _drop(self, server: Server) -> None:
        opened = self._opened.pop(server, None)
        if opened is not None:
            opened[2].close()


def _retune(stage: Stage, options: Any) -> None:
    if isinstance(stage, Tunable):
        stage.retune(options)


def _told(scene: Scene, lost_ns: int) -> Scene:
    """The scene, with the time of servers that did not answer counted as inference."""
    spent = scene.timings
    return replace(scene, timings=replace(spent, inference_ns=spent.inference_ns + lost_ns))
