"""A keeper of evidence at work in a folder, and everything that it told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.events import Event, MotionChanged
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.evidence.ages import LEDGER
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import Watched
from edge_vision.publish.wire import Evidence, Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_frame

MOVED = MotionChanged(moving=True, area=0.1)
STEP_NS = 200_000_000


class Site:
    """A keeper at work in a folder, and everything that it told."""

    def __init__(self, folder: Path, options: dict[str, Any], cameras: tuple[str, ...] = ("cam",)) -> None:
        self.options = EvidenceOptions.model_validate({"kinds": ["motion_changed"], **options})
        self.folder = folder
        clock = SystemClock()
        self.wire = Wire("site", "boot", clock)
        self.told: list[dict[str, Any]] = []
        most, age_s = int(self.options.max_mb * 1e6), self.options.max_age_h * 3600
        store = Store(folder, most, age_s, clock)
        watched = {name: Watched() for name in cameras}
        self.keeper = EvidenceKeeper(self.options, store, watched, self._put, clock)
        self._number = 0

    def _put(self, source: str, kept: Evidence) -> None:
        message = self.wire.evidence(source, kept)
        self.told.append(json.loads(message.body))

    def see(
        self, *events: Event, level: int = 0, source: str = "cam", image: NDArray[np.uint8] | None = None
    ) -> list[Message]:
        """The next frame, 200 ms behind the last; the messages of its events."""
        self._number += 1
        picture = np.full((48, 64, 3), level % 256, np.uint8) if image is None else image
        frame = make_frame(
            picture, index=self._number, source_id=source, clock=SystemClock(), media_ns=self._number * STEP_NS
        )
        scene = Scene(frame, Detections.empty(), events)
        messages = self.wire.events(scene)
        self.keeper.hear(scene, messages)
        return messages

    @property
    def last(self) -> dict[str, dict[str, Any]]:
        """The last that was told of each event."""
        return {one["evidence"]["of"]: one["evidence"] for one in self.told}


@contextmanager
def running(folder: Path, cameras: tuple[str, ...] = ("cam",), **options: Any) -> Iterator[Site]:
    """A keeper that runs until the end of the block, and has written everything then."""
    site = Site(folder, options, cameras)
    site.keeper.start()
    try:
        yield site
    finally:
        assert site.keeper.finish(60)


def size_of(folder: Path) -> int:
    """The bytes of all evidence in a folder."""
    total = 0
    for name in names_in(folder):
        with suppress(FileNotFoundError):
            total += (folder / name).stat().st_size
    return total


def names_in(folder: Path) -> list[str]:
    """The files of evidence in a folder, sorted."""
    there = folder.iterdir() if folder.exists() else ()
    return sorted(entry.name for entry in there if entry.name != LEDGER)
