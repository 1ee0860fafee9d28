"""Times runtimes beside each other on the whole road; who sees something else than the reference cannot win."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import BackendError
from edge_vision.core.frame import read_only
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions, Session
from edge_vision.inference.select import usable_files
from edge_vision.inference.trial import load_after_trial
from edge_vision.models.bundle import Bundle
from edge_vision.models.proof.gate import Verdict, decoder_of, precision_of, prove
from edge_vision.preprocess.window import preprocessor_of

_BURST: Final = 5
"""Frames a runtime takes in one turn; the first of them finds cold caches and is not counted."""
_LEAST_ROUNDS: Final = 3
_MOST_ROUNDS: Final = 2000


@dataclass(frozen=True, slots=True)
class Entrant:
    """A runtime that has loaded a file."""

    backend: str
    file: ModelFile
    engine: Engine


@dataclass(frozen=True, slots=True)
class Pace:
    """Milliseconds per frame: of the inference, of the whole road, and of processor time on the whole road.

    The geometric means are what ratios are taken of: the machine's other load meets all who take turns alike, and one
    hiccup weighs little.
    """

    frames: int
    infer_mean: float
    infer_p50: float
    infer_p95: float
    road_mean: float
    road_p50: float
    road_p95: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """One runtime with one file: how fast, and whether it sees what the reference sees.

    `state` is proven, failed, unproven (no golden data) or not here; `ratio` its time on the road to that of the
    fastest that may serve.
    """

    backend: str
    file: str
    precision: str
    state: str
    reason: str
    verdict: Verdict | None = None
    pace: Pace | None = None
    ratio: float | None = None


def bench(
    bundle: Bundle,
    backends: Sequence[str],
    options: Sequence[LoadOptions],
    seconds: float,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Result]:
    """Time every runtime with each file it reads, fastest first; those that may not serve come last."""
    absent: list[Result] = []
    ready: list[tuple[Entrant, Result]] = []
    for option in options:
        for name in backends:
            for entry in _enter(bundle, name, option):
                if isinstance(entry, Result):
                    absent.append(entry)
                else:
                    ready.append(entry)
    paces = race(bundle, [entrant for entrant, _ in ready], frames_of(bundle), seconds, progress)
    return rank([replace(result, pace=pace) for (_, result), pace in zip(ready, paces, strict=True)]) + absent


def rank(timed: Sequence[Result]) -> list[Result]:
    """Fastest first and those that failed last, each with its ratio to the fastest that may serve."""
    best = min((one.pace.road_mean for one in timed if one.pace and one.state != "failed"), default=None)
    rated = [replace(one, ratio=one.pace.road_mean / best if one.pace and best else None) for one in timed]
    return sorted(rated, key=lambda one: (one.state == "failed", one.pace.road_mean if one.pace else float("inf")))


def _enter(bundle: Bundle, name: str, options: LoadOptions) -> Iterator[tuple[Entrant, Result] | Result]:
    try:
        files = usable_files(name, bundle.spec, options.precision)
    except BackendError as error:
        yield Result(name, "", options.precision, "not here", str(error))
        return
    for file in files:
        path, precision = bundle.path_of(file), precision_of(file, options.precision)
        try:
            engine = load_after_trial(name, file, options)
            verdict = None if bundle.golden is None else prove(bundle, bundle.golden, file, engine, options.precision)
        except BackendError as error:
            yield Result(name, path, precision, "not here", str(error))
            continue
        state = "unproven" if verdict is None else "proven" if verdict.passed else "failed"
        reason = "" if verdict is None else verdict.reason
        yield Entrant(name, file, engine), Result(name, path, precision, state, reason, verdict)


def frames_of(bundle: Bundle) -> list[NDArray[np.uint8]]:
    """The golden pictures, or noise where there are none. Raises ModelError when they are damaged."""
    if bundle.golden is None:
        noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
        return [read_only(noise)]
    return [bundle.golden.read(image).image for image in bundle.golden.file.images[:8]]


def race(
    bundle: Bundle,
    entrants: Sequence[Entrant],
    images: Sequence[NDArray[np.uint8]],
    seconds: float,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Pace]:
    """Let them take turns for about so long: what else the machine does meets all of them alike.

    Raises InferenceError or ModelError when one of them fails.
    """
    with ExitStack() as stack:
        lanes = [stack.enter_context(_lane(bundle, entrant)) for entrant in entrants]
        started = perf_counter()
        for lane in lanes:
            lane.burst(images)
            lane.forget()
        a_round = max(perf_counter() - started, 1e-4)
        rounds = min(max(int(seconds / a_round), _LEAST_ROUNDS), _MOST_ROUNDS)
        for number in range(rounds):
            # Each goes first as often as the others.
            for place in range(len(lanes)):
                lanes[(number + place) % len(lanes)].burst(images)
            progress(number + 1, rounds)
        return [lane.pace() for lane in lanes]


@contextmanager
def _lane(bundle: Bundle, entrant: Entrant) -> Iterator["_Lane"]:
    with entrant.engine.open_session() as session:
        yield _Lane(bundle, entrant, session)


@dataclass
class _Times:
    infer: list[float] = field(default_factory=list)
    road: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class _Lane:
    """The road of one entrant, and its times in seconds."""

    def __init__(self, bundle: Bundle, entrant: Entrant, session: Session) -> None:
        self._preprocess = preprocessor_of(bundle.ends_of(entrant.file).input, entrant.engine.inputs[0].name)
        self._postprocess = decoder_of(bundle, bundle.thresholds, entrant.file)
        self._session = session
        self._turn = 0
        self._times = _Times()

    def burst(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Take a few frames one after the other."""
        for number in range(_BURST):
            self._turn += 1
            image = images[self._turn % len(images)]
            began, cpu = perf_counter(), process_time()
            model_input = self._preprocess(image)
            before = perf_counter()
            outputs = self._session.infer(model_input.tensors)
            after = perf_counter()
            self._postprocess(outputs, model_input.letterbox)
            if number:
                self._times.infer.append(after - before)
                self._times.road.append(perf_counter() - began)
                self._times.cpu.append(process_time() - cpu)

    def forget(self) -> None:
        """Start the measurement anew."""
        self._times = _Times()

    def pace(self) -> Pace:
        """What was measured."""
        infer, road = np.array(self._times.infer) * 1e3, np.array(self._times.road) * 1e3
        return Pace(
            frames=len(road),
            infer_mean=float(np.exp(np.log(infer).mean())),
            infer_p50=float(np.percentile(infer, 50)),
            infer_p95=float(np.percentile(infer, 95)),
            road_mean=float(np.exp(np.log(road).mean())),
            road_p50=float(np.percentile(road, 50)),
            road_p95=float(np.percentile(road, 95)),
            cpu=float(np.mean(self._times.cpu)) * 1e3,
        )
