"""The sockets of the road: what each step must offer, whoever makes it. At most three members each."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.frame import Frame
from edge_vision.core.geometry import Letterbox
from edge_vision.core.message import Message
from edge_vision.core.model import ModelFile
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.core.tensor import ModelInput, Tensors, TensorSpec


class Source(Protocol):
    """A camera or a recording, opened; used by one thread, which also closes it."""

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace: then the freshest wins, else every frame counts."""

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Blocks no longer than the source's read time-out. Raises SourceError when the source fails,
        SourceTimeoutError when it stays silent.
        """


class Preprocessor(Protocol):
    """Makes a picture ready for a network; the result may live in a buffer that the next call overwrites."""

    def __call__(self, image: NDArray[np.uint8]) -> ModelInput:
        """Lay a (height, width, 3) BGR picture into the network's input. Never blocks, never writes to it."""


@dataclass(frozen=True, slots=True)
class Availability:
    """What a runtime says of itself on this machine; a reason always accompanies a no."""

    available: bool
    reason: str
    version: str = ""
    devices: tuple[str, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    """Formats that this build of the runtime cannot read, each with the reason."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How an engine is to run: the numeric precision, threads per inference, and how many run side by side.

    `batch` is how many frames at once it may be given, where the model's first axis is open.
    `device` is in the runtime's own words, such as CPU, GPU or CUDA; None is the runtime's own choice.
    """

    precision: str = "f32"
    threads: int = 1
    parallel: int = 1
    device: str | None = None
    batch: int = 1


class Session(Protocol):
    """One thread's handle on an engine."""

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once; input and output arrays by name.

        Outputs may live in buffers that the next call overwrites. Raises InferenceError.
        """


class Engine(Protocol):
    """Loaded weights, shared between threads; each thread opens its own session."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The network's inputs."""

    @property
    def device(self) -> str:
        """The device the weights really are on, in the runtime's own words."""

    def open_session(self) -> AbstractContextManager[Session]:
        """A handle for the calling thread."""


class Backend(Protocol):
    """A runtime on this machine."""

    @property
    def formats(self) -> tuple[str, ...]:
        """The file formats it reads, best first."""

    def probe(self) -> Availability:
        """Whether it works here, and why if not; imports the runtime, never raises."""

    def load(self, file: ModelFile, options: LoadOptions) -> Engine:
        """Load one file of a model, of a format this runtime reads.

        Raises BackendUnavailableError when it cannot be served as asked, ModelError when the file is not what the
        bundle says it is.
        """


class Postprocessor(Protocol):
    """Turns raw outputs into detections; knows one output format and no runtime. Pure."""

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """Decode, keep what passes the thresholds, suppress doubles, and map boxes to source pixels.

        Raises ModelError when the outputs do not have the shape the format demands.
        """


class Network(Protocol):
    """A model as one call, for stages that show it parts of a frame: preprocess, inference, postprocess."""

    @property
    def model(self) -> ServedModel:
        """Which model answers, and on what."""

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What is seen in each (height, width, 3) BGR picture, in pixels of that picture; batched where it can be.

        Waits for the device no longer than the stage's time-out. Raises InferenceError.
        """


class Stage(Protocol):
    """One analysis step; state is per camera and time comes from the frame."""

    def __call__(self, scene: Scene) -> Scene:
        """Return a richer scene. Synchronous; never blocks."""


@runtime_checkable
class Finisher(Protocol):
    """A stage that waits, before it tells of something, until that has left: it is asked once more at the end."""

    def finish(self, scene: Scene) -> Scene:
        """The scene, the last frame's without objects, with what waits to be told: no frame comes any more.

        Of what is seen in the last frame nothing is said that is not known: whoever is there has not left.
        """


@runtime_checkable
class Tunable(Protocol):
    """A stage whose confidence can be changed between two frames."""

    def retune(self, options: Any) -> None:
        """Go on with other options of the same kind, which differ by a confidence only; what is remembered stays."""


class Sink(Protocol):
    """Somewhere messages go, opened; used by one thread, which also closes it."""

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver every message or raise SinkError; nothing is dropped silently.

        Called with nothing every second or so, for the sink to keep its connection alive. Blocks no longer than
        the sink's time-out.
        """


class History(Protocol):
    """What was published and is still kept, of this run of the process and of earlier ones; any thread may ask."""

    def since(self, boot: str, source: str, kind: str, first: int, last: int | None, most: int) -> list[Message]:
        """Messages numbered from `first` to `last`, or to the newest, in order; the first `most` of those kept.

        Blocks no longer than a second or two. Raises SinkError when what is kept cannot be read.
        """

    def ranges(self) -> list[tuple[str, str, str, int, int]]:
        """Boot, source, kind, and the first and last number kept, oldest boot first.

        Blocks no longer than a second or two. Raises SinkError when what is kept cannot be read.
        """
