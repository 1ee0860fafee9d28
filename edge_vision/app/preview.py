"""Takes one picture or clip down the road and draws what was seen: a look before a site is written."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.capture.images import SUFFIXES
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import FileOptions
from edge_vision.capture.table import open_source
from edge_vision.config.site import Camera, Site
from edge_vision.core.errors import ConfigError, SourceError
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.plugin import require
from edge_vision.models.bundle import Bundle
from edge_vision.publish.annotate import Annotator
from edge_vision.runtime.clock import SystemClock

_DEFAULT_FPS: Final = 25.0
VIDEO_SUFFIXES: Final = frozenset({".mp4", ".avi", ".mkv", ".mov"})


@dataclass(frozen=True, slots=True)
class Preview:
    """What to look at: a source file, a resolved pipeline with its models, and where the drawing goes."""

    input: Path
    output: Path
    stages: tuple[Any, ...]
    bundles: dict[Path, Bundle]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a preview saw: frames, and objects by label over all of them."""

    frames: int
    objects: Counter[str]
    backend: str


def is_picture(file: Path) -> bool:
    """Whether a file is a picture by its name; everything else is taken for a clip."""
    return file.suffix.lower() in SUFFIXES


def run_preview(preview: Preview, progress: Callable[[int, int], None]) -> Outcome:
    """Take every frame down the road and write it with what was seen drawn on it.

    `progress` hears the frames done and the frames expected (0 when unknown). Raises SourceError for an input that
    cannot be read, ConfigError for an output that cannot be written, NoBackendError or ModelError for the model.
    """
    clock = SystemClock()
    source = FileOptions(kind="file", path=preview.input)
    camera = Camera("try", source, "try", preview.stages, 0)
    engines = load_engines(Site(Path("try"), "try", (camera,), ()), preview.bundles)
    annotate, objects, frames, backend = Annotator(), Counter[str](), 0, ""
    with ExitStack() as resources:
        road = resources.enter_context(open_road(camera, engines, clock))
        reader, expected, fps = resources.enter_context(_open_input(preview.input, clock))
        write = resources.enter_context(_open_output(preview.output, fps))
        for frame in iter(reader, None):
            scene = road(frame)
            write(annotate(scene))
            frames += 1
            backend = scene.models[0].backend if scene.models else ""
            objects.update(scene.labels[class_id] for class_id in scene.detections.class_id.tolist())
            progress(frames, expected)
    return Outcome(frames, objects, backend)


@contextmanager
def _open_input(file: Path, clock: SystemClock) -> Iterator[tuple[Callable[[], Frame | None], int, float]]:
    """A function that gives the next frame, the number of frames or 0, and the frame rate."""
    if is_picture(file):
        cv2: Any = require("cv2", "cpu")
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            what = "is not a picture that can be decoded" if file.is_file() else "no such file"
            msg = f"{file}: {what}"
            raise SourceError(msg)
        frames = iter([Frame("try", 0, clock.now(), clock.monotonic_ns(), 0, read_only(image))])
        yield lambda: next(frames, None), 1, _DEFAULT_FPS
        return
    options = FileOptions(kind="file", path=file)
    with open_source(options, Opening("try", clock)) as source:
        count, fps = getattr(source, "length", (0, _DEFAULT_FPS))
        yield source.read, count, fps


@contextmanager
def _open_output(file: Path, fps: float) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that writes one drawn picture: the file itself, or the next frame of the clip."""
    cv2: Any = require("cv2", "cpu")
    if is_picture(file):

        def write_picture(image: NDArray[np.uint8]) -> None:
            if not cv2.imwrite(str(file), image):
                msg = f"{file}: cannot be written"
                raise ConfigError(msg)

        yield write_picture
        return
    writer = cv2.VideoWriter()

    def write_frame(image: NDArray[np.uint8]) -> None:
        if not writer.isOpened():
            codec = "MJPG" if file.suffix.lower() == ".avi" else "mp4v"
            writer.open(str(file), cv2.VideoWriter_fourcc(*codec), fps, (image.shape[1], image.shape[0]))
        if not writer.isOpened():
            msg = f"{file}: cannot be written"
            raise ConfigError(msg)
        writer.write(image)

    try:
        yield write_frame
    finally:
        writer.release()
    written = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    whole = written.isOpened() and written.get(cv2.CAP_PROP_FRAME_COUNT) > 0
    written.release()
    if not whole:
        msg = f"{file}: was not written whole; is the disk full?"
        raise ConfigError(msg)
