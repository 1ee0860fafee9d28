"""Shows a blank picture to every model before the first real one: what does not fit shows at start, not at night."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_vision.app.engines import Engines
from edge_vision.app.network import open_network
from edge_vision.app.pipeline import open_road
from edge_vision.config.site import Camera, Site
from edge_vision.core.errors import ModelError
from edge_vision.core.frame import Frame
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.options import DetectOptions
from edge_vision.preprocess.enhance import EnhanceOptions
from edge_vision.runtime.clock import Clock

_GRAY = 114
_WH = (640, 360)
_PERIOD_NS = 40_000_000


def warm_up(site: Site, engines: Engines, clock: Clock, go_on: Callable[[], None]) -> None:
    """Walk every distinct pipeline once; `go_on` is called before each.

    Raises ModelError when outputs do not have the shape the bundle says.
    """
    seen: list[tuple[Any, ...]] = []
    for camera in site.cameras:
        if camera.stages in seen:
            continue
        seen.append(camera.stages)
        go_on()
        sizes = (options.frame_wh for options in camera.stages if isinstance(options, EnhanceOptions))
        width, height = next((wh for wh in sizes if wh is not None), _WH)
        image = np.full((height, width, 3), _GRAY, np.uint8)
        try:
            with open_road(camera, engines, clock) as road:
                for number, media_ns in enumerate(_times(camera, engines)):
                    road(Frame(camera.id, number, clock.now(), clock.monotonic_ns(), media_ns, image))
            for options in camera.stages:  # a blank picture has nothing in it that a cascade would look at
                if isinstance(options, ModelStageOptions) and not isinstance(options, DetectOptions):
                    with open_network(engines[options], options, camera.priority, clock) as network:
                        network([image] * engines[options].batch)
                        network([image])
        except ModelError as error:
            folders = [str(options.model) for options in camera.stages if isinstance(options, ModelStageOptions)]
            msg = f"{', '.join(folders)}: {error}"
            raise ModelError(msg) from error


def _times(camera: Camera, engines: Engines) -> list[int]:
    """Media times of the frames that it takes: one, or as many as fill the clip of a detector that looks at clips."""
    inputs = [engines[options].ends.input for options in camera.stages if isinstance(options, DetectOptions)]
    frames = max((one.frames or 1 for one in inputs), default=1)
    period_ns = max((int(1e9 / one.fps) for one in inputs if one.fps is not None), default=_PERIOD_NS)
    return [number * period_ns for number in range(frames)]
