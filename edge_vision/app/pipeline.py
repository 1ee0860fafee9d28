"""The road: frame in, scene out; one function, no threads inside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.table import build_stage
from edge_vision.app.engines import Engines, Served
from edge_vision.app.network import Looker, decoder_of, open_network
from edge_vision.app.servers import Proven
from edge_vision.app.standby import Standby
from edge_vision.app.tuning import Tuning
from edge_vision.config.site import Camera
from edge_vision.core.errors import BackendError
from edge_vision.core.frame import Frame
from edge_vision.core.protocols import Finisher, Postprocessor, Stage, Tunable
from edge_vision.core.scene import Scene, Timings
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.options import DetectOptions
from edge_vision.preprocess.enhance import Enhance, EnhanceOptions
from edge_vision.runtime.clock import Clock


class Road:
    """The stages of one camera's pipeline, in order."""

    def __init__(
        self, stages: Sequence[Stage], clock: Clock, tuning: Tuning | None = None, set_to: tuple[Any, ...] = ()
    ) -> None:
        self._stages = stages
        self._tuning = tuning
        self._set_to = set_to
        self._finishers = [stage for stage in stages if isinstance(stage, Finisher)]
        self._last: Scene | None = None
        self._blank = np.empty((0, 0, 3), np.uint8)
        self._now = clock.monotonic_ns

    def __call__(self, frame: Frame) -> Scene:
        """Take a frame through every stage."""
        started = self._now()
        if self._tuning is not None and self._tuning.stages is not self._set_to:
            self._retune(self._tuning.stages)
        scene = Scene(frame)
        for stage in self._stages:
            scene = stage(scene)
        if self._finishers:
            if self._blank.shape != frame.image.shape:  # as large, and no memory: the frame's own is not held
                self._blank = np.broadcast_to(np.uint8(0), frame.image.shape)
            self._last = Scene(replace(frame, image=self._blank), labels=scene.labels, models=scene.models)
        spent = scene.timings
        looked_ns = spent.preprocess_ns + spent.inference_ns + spent.postprocess_ns
        capture_ns, analytics_ns = started - frame.captured_ns, self._now() - started - looked_ns
        return replace(scene, timings=replace(spent, capture_ns=capture_ns, analytics_ns=analytics_ns))

    def _retune(self, wanted: tuple[Any, ...]) -> None:
        for stage, before, now in zip(self._stages, self._set_to, wanted, strict=True):
            if now != before and isinstance(stage, Tunable):
                stage.retune(now)
        self._set_to = wanted

    def finish(self) -> Scene | None:
        """The last frame without objects, with the events that wait to be told; None where there are none.

        For the end of a recording. What a stage has told it does not tell again.
        """
        if self._last is None:
            return None
        scene = self._last
        for stage in self._finishers:
            scene = stage.finish(scene)
        self._last = None
        return scene if scene.events else None


class Detect:
    """The stage that shows the frame to a network."""

    def __init__(self, network: Looker, decoder: Callable[[ModelStageOptions], Postprocessor]) -> None:
        self._network = network
        self._decoder = decoder

    def retune(self, options: ModelStageOptions) -> None:
        """Another confidence from the next frame on."""
        self._network.decode_with(self._decoder(options))

    def __call__(self, scene: Scene) -> Scene:
        """The scene with what the network sees. Inference time includes the wait for the device."""
        detections = self._network.watch(scene.frame.image, scene.frame.media_ns)
        started, prepared, inferred, decoded = self._network.steps_ns
        timings = Timings(
            preprocess_ns=prepared - started,
            inference_ns=inferred - prepared,
            postprocess_ns=decoded - inferred,
        )
        model = self._network.model
        return replace(scene, detections=detections, timings=timings, labels=model.labels, models=(model,))


@contextmanager
def open_road(
    camera: Camera,
    engines: Engines,
    clock: Clock,
    kept: dict[int, Stage] | None = None,
    tuning: Tuning | None = None,
) -> Iterator[Road]:
    """Set up the stages of a camera on the calling thread: sessions, buffers, state.

    In `kept` the stages without a model outlive a runtime that fails: opened anew with it, the road goes on with its
    tracks and counts. After any other error they begin anew, as one of them may be what is wrong. `tuning` is what
    commands have set the stages to, and may set them to.
    """
    kept = {} if kept is None else kept
    tuning = tuning or Tuning(camera)
    set_to = tuning.stages
    with ExitStack() as resources:
        stages: list[Stage] = []
        labels: tuple[str, ...] = ()
        for number, options in enumerate(set_to):
            if isinstance(options, DetectOptions):
                served = engines[options]
                labels = served.model.labels
                look = partial(_open_detect, options=options, priority=camera.priority, clock=clock)
                detect: Stage = resources.enter_context(look(served))
                if served.servers is not None:
                    detect = resources.enter_context(closing(Standby(served.servers, look, detect, clock)))
                stages.append(detect)
                continue
            if isinstance(options, EnhanceOptions):
                stages.append(Enhance(options))
                continue
            context = StageContext(labels)
            if isinstance(options, ModelStageOptions):
                served = engines[options]
                network = resources.enter_context(open_network(served, options, camera.priority, clock))
                context = StageContext(labels, network, served.bundle.gives)
            stage = kept.get(number) or build_stage(options, context)
            if isinstance(stage, Tunable):
                stage.retune(options)
            if context.network is None:
                kept[number] = stage
            stages.append(stage)
            labels += options.labels
        try:
            yield Road(stages, clock, tuning, set_to)
        except BackendError:
            raise
        except Exception:
            kept.clear()
            raise


@contextmanager
def _open_detect(served: Served | Proven, options: DetectOptions, priority: int, clock: Clock) -> Iterator[Detect]:
    """The stage for one way to have the answer, with a session of its own. Raises InferenceError."""
    with open_network(served, options, priority, clock) as network:
        yield Detect(network, partial(decoder_of, served))
