"""Takes a clip down the road, scene by scene: for whoever measures what a pipeline makes of it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import FileOptions
from edge_vision.capture.table import open_source
from edge_vision.config.site import Camera, Site
from edge_vision.core.scene import Scene
from edge_vision.models.bundle import Bundle
from edge_vision.runtime.clock import SystemClock


def walk(
    clip: Path, stages: Sequence[Any], bundles: dict[Path, Bundle], progress: Callable[[int, int], None]
) -> Iterator[Scene]:
    """Every frame of a clip, in order, with what the stages of a checked pipeline see in it.

    Where something waits to be told at the end, the last frame comes again, without objects, with those events.

    `progress` hears the frames done and the frames expected (0 when unknown). Raises SourceError for a clip that cannot
    be read, NoBackendError or ModelError for a model.
    """
    clock = SystemClock()
    source = FileOptions(kind="file", path=clip)
    camera = Camera("clip", source, "clip", tuple(stages), 0)
    engines = load_engines(Site(Path("clip"), "clip", (camera,), ()), bundles)
    with open_road(camera, engines, clock) as road, open_source(source, Opening("clip", clock)) as opened:
        expected, _ = getattr(opened, "length", (0, 0.0))
        for number, frame in enumerate(iter(opened.read, None), 1):
            yield road(frame)
            progress(number, expected)
        last = road.finish()
        if last is not None:
            yield last
