"""A camera without threads, a desk and the effects of commands: for tests that carry out commands by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.app.commands import Desk, Order, Outcome
from edge_vision.app.commands_effects import Effects, House
from edge_vision.app.unit import Unit
from edge_vision.capture.options import SyntheticOptions
from edge_vision.config.site import Camera
from edge_vision.core.commands import Payload
from edge_vision.core.errors import EdgeVisionError
from edge_vision.core.scene import Scene
from edge_vision.inference.options import DetectOptions
from edge_vision.testing.fakes import FakeClock, make_frame

DETECT = DetectOptions(kind="detect", model=Path("m"), confidence=0.1)
TRACKER = TrackerOptions(kind="tracker")
SOURCE = SyntheticOptions(kind="synthetic")


class Kept:
    """Evidence with one file."""

    path = "20261122T120000.000000Z.gate.0001.clean.jpg"

    def __init__(self) -> None:
        self.asked = 0
        self.outcome: Kept | str | None = None
        """What becomes of every picture that is asked for."""

    def ask_snapshot(self, source_id: str) -> "Kept":
        """A picture that is on its way, for one camera."""
        if source_id != "gate":
            msg = f"no frame of {source_id}"
            raise EdgeVisionError(msg)
        self.asked += 1
        return self

    def give_up(self) -> str:
        """Nothing has come."""
        self.asked -= 1
        return "no frame came"

    def fetch(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """Its bytes."""
        assert path == self.path, path
        return bytes(range(100))[offset : offset + length], 100


class Place:
    """A camera called gate, the effects of commands on it, and a clock."""

    def __init__(self, evidence: Any = None) -> None:
        self.clock = FakeClock()
        camera = Camera("gate", SOURCE, "object_counting", (DETECT, TRACKER), 0, ((1, "high"),))
        self.unit = Unit(camera, lambda: None, lambda _: None, lambda _: None, self.clock)  # type: ignore[arg-type, return-value]
        self.unit._source_state = "online"
        self.desk = Desk("test", "boot", frozenset({"gate"}), self.clock)
        self.reloads: list[Exception | None] = []
        house = House(lambda: "online", self._reload, self.clock.monotonic_ns())
        self.effects = Effects({"gate": self.unit}, house, self.desk, self.clock, evidence)
        self.outcomes: list[Outcome] = []

    def _reload(self) -> None:
        error = self.reloads.pop(0)
        if error is not None:
            raise error

    def do(self, what: str, payload: Payload) -> None:
        """Carry out a command."""
        self.effects.carry_out(Order("gate", what, payload), self.outcomes.append)

    def turn(self) -> None:
        """Do what waits for the worker."""
        for _ in range(len(self.desk._queue)):
            step = self.desk._queue.get(0.0)
            assert step is not None
            step()
        self.effects.mind()

    def walk(self, index: int = 1, wh: tuple[int, int] = (64, 48)) -> None:
        """A frame comes, and whoever waits for the worker gets his turn."""
        image = np.full((wh[1], wh[0], 3), (10, 200, 30), np.uint8)
        frame = make_frame(image, index=index, source_id="gate", clock=self.clock)
        self.unit._walk(Scene, frame)  # type: ignore[arg-type]
        self.turn()
