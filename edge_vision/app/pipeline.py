"""The road: frame in, scene out; one function, no threads inside."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial

from edge_vision.analytics.table import build_stage
from edge_vision.app.engines import Engines, Served
from edge_vision.app.servers import Proven
from edge_vision.app.standby import Standby
from edge_vision.config.site import Camera
from edge_vision.core.frame import Frame
from edge_vision.core.protocols import Postprocessor, Preprocessor, Session, Stage
from edge_vision.core.scene import Scene, Timings
from edge_vision.inference.options import DetectOptions
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.runtime.clock import Clock


class Road:
    """The stages of one camera's pipeline, in order."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages

    def __call__(self, frame: Frame) -> Scene:
        """Take a frame through every stage."""
        scene = Scene(frame)
        for stage in self._stages:
            scene = stage(scene)
        return scene


class Detect:
    """The stage that shows the frame to a network: preprocess, infer, postprocess."""

    def __init__(
        self,
        preprocess: Preprocessor,
        session: Session,
        postprocess: Postprocessor,
        served: Served | Proven,
        options: DetectOptions,
        priority: int,
        clock: Clock,
    ) -> None:
        self._preprocess = preprocess
        self._session = session
        self._postprocess = postprocess
        self._slots = served.slots
        self._model = served.model
        self._timeout_s = options.timeout_s
        self._priority = priority
        self._now = clock.monotonic_ns

    def __call__(self, scene: Scene) -> Scene:
        """The scene with what the network sees. Inference time includes the wait for the device."""
        started = self._now()
        model_input = self._preprocess(scene.frame)
        prepared = self._now()
        with self._slots.turn(self._timeout_s, self._priority):
            tensors = self._session.infer(model_input.tensors)
        inferred = self._now()
        detections = self._postprocess(tensors, model_input.letterbox)
        timings = Timings(
            capture_ns=started - scene.frame.captured_ns,
            preprocess_ns=prepared - started,
            inference_ns=inferred - prepared,
            postprocess_ns=self._now() - inferred,
        )
        return replace(scene, detections=detections, timings=timings, model=self._model)


@contextmanager
def open_road(camera: Camera, engines: Engines, clock: Clock) -> Iterator[Road]:
    """Set up the stages of a camera on the calling thread: sessions, buffers, state."""
    with ExitStack() as resources:
        stages: list[Stage] = []
        labels: tuple[str, ...] = ()
        for options in camera.stages:
            if isinstance(options, DetectOptions):
                served = engines[options]
                labels = served.model.labels
                look = partial(_open_detect, options=options, priority=camera.priority, clock=clock)
                detect: Stage = resources.enter_context(look(served))
                if served.servers is not None:
                    detect = resources.enter_context(closing(Standby(served.servers, look, detect, clock)))
                stages.append(detect)
            else:
                stages.append(build_stage(options, labels))
        yield Road(stages)


@contextmanager
def _open_detect(served: Served | Proven, options: DetectOptions, priority: int, clock: Clock) -> Iterator[Detect]:
    """The stage for one way to have the answer, with a session of its own. Raises InferenceError."""
    bundle = served.bundle
    given = {"confidence": options.confidence, "iou": options.iou}
    thresholds = bundle.thresholds.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    preprocess = LetterboxPreprocessor(served.ends.input, served.engine.inputs[0].name)
    postprocess = build_postprocessor(served.ends.output, thresholds, len(bundle.spec.labels), served.ends.input.size)
    with served.engine.open_session() as session:
        yield Detect(preprocess, session, postprocess, served, options, priority, clock)
