"""Takes pictures or a clip down the road and draws what was seen: a look before a site is written."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.table import STAGES
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import Road, open_road
from edge_vision.app.seen import Seen
from edge_vision.capture.images import SUFFIXES
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import FileOptions
from edge_vision.capture.table import open_source
from edge_vision.config.site import Camera, Site
from edge_vision.core.errors import ConfigError, SourceError
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import ModelStageOptions
from edge_vision.models.bundle import Bundle
from edge_vision.publish.annotate import Annotator
from edge_vision.publish.drawing.places import Places, Points
from edge_vision.publish.wire import Wire, new_boot
from edge_vision.runtime.clock import SystemClock

_log = logging.getLogger(__name__)

_ENDS: Final = 2
_DEFAULT_FPS: Final = 25.0
VIDEO_SUFFIXES: Final = frozenset({".mp4", ".avi", ".mkv", ".mov"})
_LOOKS: Final = 12
"""A picture is shown so often to a pipeline that remembers: a tracker and a vote take a few frames."""
_LOOK_NS: Final = 100_000_000

_Open = Callable[[], AbstractContextManager[Road]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What to look at: a source file, a resolved pipeline with its models, and where the drawing goes.

    `input` may be a folder of pictures; `output` is then a folder, too. `events` is a file for the messages of events.
    """

    input: Path
    output: Path
    stages: tuple[Any, ...]
    bundles: dict[Path, Bundle]
    events: Path | None = None


def is_picture(file: Path) -> bool:
    """Whether a file is a picture by its name; everything else is taken for a clip."""
    return file.suffix.lower() in SUFFIXES


def run_preview(preview: Preview, progress: Callable[[int, int], None]) -> Seen:
    """Take every frame down the road and write it with what was seen drawn on it.

    `progress` hears the frames done and the frames expected (0 when unknown). Raises SourceError for an input that
    cannot be read, ConfigError for an output that cannot be written, NoBackendError or ModelError for the model.
    """
    clock = SystemClock()
    source = FileOptions(kind="file", path=preview.input)
    camera = Camera("try", source, "try", preview.stages, 0)
    engines = load_engines(Site(Path("try"), "try", (camera,), ()), preview.bundles)
    opened = partial(open_road, camera, engines, clock)
    seen, places = Seen(), places_of(preview.stages)
    with _open_events(preview.events, clock) as tell:
        if preview.input.is_dir() or is_picture(preview.input):
            look = _Looking(opened, places, _LOOKS if _remembers(preview.stages) else 1, clock, seen, tell)
            look.at_all(preview.input, preview.output, progress)
        else:
            _play(preview, opened, places, clock, seen, tell, progress)
    return seen


def places_of(stages: tuple[Any, ...]) -> Places:
    """What the stages of a pipeline say of places, for drawing: named lines and polygons, one `line`, one `zone`.

    The same place in two stages is one; two places of one name are told apart by their options.
    """
    lines: dict[str, Points] = {}
    zones: dict[str, Points] = {}
    counted: set[str] = set()
    for options in stages:
        for option in type(options).model_fields:
            value = getattr(options, option)
            named = {option: value} if option in {"line", "zone"} else value
            for name, points in named.items() if isinstance(named, Mapping) else ():
                if not _are_points(points):
                    continue
                found = lines if len(points) == _ENDS else zones
                key = name if found.get(name, points) == points else f"{option} {name}"
                found[key] = points
                counted |= {key} if option == "lines" else set()
    return Places(lines, zones, frozenset(counted))


def _are_points(value: Any) -> bool:
    """Whether a value is two or more pairs of numbers."""
    pairs = isinstance(value, tuple) and len(value) >= _ENDS
    return pairs and all(isinstance(one, tuple) and len(one) == _ENDS and not isinstance(one[0], str) for one in value)


def _remembers(stages: tuple[Any, ...]) -> bool:
    """Whether a stage may say more when it has seen the same again: trackers, votes and what comes to rest do."""
    return any(one.kind in STAGES and not isinstance(one, ModelStageOptions | FilterOptions) for one in stages)


@dataclass(frozen=True, slots=True)
class _Looking:
    """Pictures, each for itself: nothing of one is remembered in the next."""

    opened: _Open
    places: Places
    looks: int
    clock: SystemClock
    seen: Seen
    tell: Callable[[Scene], None]

    def at_all(self, source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
        """One picture, or every one of a folder; those that cannot be decoded are left out of a folder."""
        if not source.is_dir():
            self._draw(_decoded(source), target)
            progress(1, 1)
            return
        files = sorted(file for file in source.iterdir() if is_picture(file) and file.is_file())
        if not files:
            msg = f"{source}: holds no pictures ({', '.join(sorted(SUFFIXES))})"
            raise SourceError(msg)
        try:
            target.mkdir(exist_ok=True, parents=True)
        except OSError as error:
            msg = f"{target}: {error.strerror}"
            raise ConfigError(msg) from error
        for number, file in enumerate(files, 1):
            try:
                image = _decoded(file)
            except SourceError as error:
                _log.warning("%s, and is left out", error)
                continue
            self._draw(image, target / file.name)
            progress(number, len(files))
        if not self.seen.frames:
            msg = f"{source}: no picture in it can be decoded"
            raise SourceError(msg)

    def _draw(self, image: NDArray[np.uint8], target: Path) -> None:
        """Look at a picture as a camera that stands still would, and draw what is known in the end."""
        annotate = Annotator(self.places, events_ns=self.looks * _LOOK_NS)
        with self.opened() as road:
            for number in range(self.looks):
                now, started_ns = self.clock.now(), self.clock.monotonic_ns()
                scene = road(Frame("try", number, now, started_ns, number * _LOOK_NS, read_only(image)))
                drawn = annotate(scene)
                self.tell(scene)
                if number + 1 < self.looks:
                    self.seen.hear(scene.events)
        self.seen.add(scene)
        cv2: Any = require("cv2", "cpu")
        if not cv2.imwrite(str(target), drawn):
            msg = f"{target}: cannot be written"
            raise ConfigError(msg)


def _decoded(file: Path) -> NDArray[np.uint8]:
    if not file.exists():  # OpenCV has words of its own about it
        msg = f"{file}: no such file"
        raise SourceError(msg)
    cv2: Any = require("cv2", "cpu")
    try:
        image: NDArray[np.uint8] | None = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV's limit of pixels
        image = None
    if image is None:
        msg = f"{file}: is not a picture that can be decoded"
        raise SourceError(msg)
    return image


def _play(
    preview: Preview,
    opened: _Open,
    places: Places,
    clock: SystemClock,
    seen: Seen,
    tell: Callable[[Scene], None],
    progress: Callable[[int, int], None],
) -> None:
    """Every frame of a clip."""
    annotate = Annotator(places)
    with ExitStack() as resources:
        road = resources.enter_context(opened())
        options = FileOptions(kind="file", path=preview.input)
        reader = resources.enter_context(open_source(options, Opening("try", clock)))
        expected, fps = getattr(reader, "length", (0, _DEFAULT_FPS))
        write = resources.enter_context(_open_clip(preview.output, fps))
        for frame in iter(reader.read, None):
            scene = road(frame)
            write(annotate(scene))
            tell(scene)
            seen.add(scene)
            progress(seen.frames, expected)
        last = road.finish()
        if last is not None:
            tell(last)
            seen.hear(last.events)


@contextmanager
def _open_events(file: Path | None, clock: SystemClock) -> Iterator[Callable[[Scene], None]]:
    """A function that writes a message for each event of a scene, as a site would publish it, one per line."""
    if file is None:
        yield lambda _: None
        return
    wire = Wire("try", new_boot(clock), clock)
    try:
        stream = file.open("wb")
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise ConfigError(msg) from error
    with stream:
        yield lambda scene: stream.writelines(message.body + b"\n" for message in wire.events(scene))


@contextmanager
def _open_clip(file: Path, fps: float) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that writes the next frame of a clip."""
    cv2: Any = require("cv2", "cpu")
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
