"""Loads every model a site uses, once per model and way of running it, and shares it between the cameras."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge_vision.app.absent import AbsentEngine
from edge_vision.app.servers import Servers
from edge_vision.config.site import Site
from edge_vision.core.errors import InferenceError, NoBackendError, ParityError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.core.scene import ServedModel
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.batching import BatchingEngine, why_not_batch
from edge_vision.inference.options import DetectOptions
from edge_vision.inference.select import Selected, select
from edge_vision.inference.slots import Slots
from edge_vision.inference.trial import admit
from edge_vision.models.bundle import Bundle, Ends
from edge_vision.models.proof.agreement import Agreement
from edge_vision.models.proof.gate import precision_of
from edge_vision.models.proof.verdicts import proven
from edge_vision.runtime.clock import SystemClock

_log = logging.getLogger(__name__)

_CAVEATS: Final = {
    "none": "it has no golden data, so that nothing shows whether this runtime sees what the model was trained to see",
    "unverified": "its golden data were made without ground truth and prove only that runtimes agree",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What the golden data of a bundle can prove (verified, unverified, none), and how the engine did on them."""

    state: str
    agreement: Agreement | None

    def __str__(self) -> str:
        return self.state if self.agreement is None else f"{self.state}: {self.agreement}"


@dataclass(frozen=True, slots=True)
class Served:
    """A model ready to serve: its bundle, its engine, the queue in front of its device, and what was passed over."""

    bundle: Bundle
    engine: Engine
    model: ServedModel
    slots: Slots
    passed_over: tuple[tuple[str, str], ...]
    ends: Ends
    proof: Proof
    servers: Servers | None = None
    """Who is asked first, if anybody: this machine stands in for them."""
    batching: str = "no"
    batch: int = 1
    """How many crops of a frame one inference takes."""


_Key: TypeAlias = tuple[Any, ...]


class Engines:
    """The loaded models of a site, found by the options of the stage that uses them."""

    def __init__(self, served: dict[_Key, Served]) -> None:
        self._served = served

    def __getitem__(self, options: ModelStageOptions) -> Served:
        return self._served[_key(options)]

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def facts(self) -> list[dict[str, Any]]:
        """What the status says of each model: who answers now, and how its servers are."""
        return [_facts(served) for served in self]


def _facts(served: Served) -> dict[str, Any]:
    servers = served.servers
    _, proven = next(servers.online(), (None, None)) if servers else (None, None)
    model = served.model if proven is None else proven.model
    agreement = served.proof.agreement if proven is None else proven.agreement
    return {
        "name": model.name,
        "backend": model.backend,
        "device": model.device,
        "precision": model.precision,
        "passed_over": dict(served.passed_over),
        "batching": served.batching,
        "proof": served.proof.state,
        **({} if agreement is None else {"agreement": agreement.facts()}),
        **({} if servers is None else {"remote": servers.facts()}),
    }


def load_engines(site: Site, bundles: dict[Path, Bundle], go_on: Callable[[], None] = lambda: None) -> Engines:
    """Load the models of every camera; `go_on` is called before each, and before each runtime and server is tried.

    Raises NoBackendError or ModelError.
    """
    plan = plan_threads(len(os.sched_getaffinity(0)), len(site.cameras))
    slots: dict[str, Slots] = {}
    served: dict[_Key, Served] = {}
    for camera in site.cameras:
        for options in camera.stages:
            if isinstance(options, ModelStageOptions) and _key(options) not in served:
                go_on()
                served[_key(options)] = _load(options, bundles[options.model], plan, slots, len(site.cameras), go_on)
    return Engines(served)


def plan_threads(cores: int, cameras: int) -> LoadOptions:
    """How to share the cores: threads per inference, and inferences side by side.

    While there are fewer cameras than cores, one core is left to capture and publish; past that every core infers.
    Few threads cost the least processor time per frame; several are worth it only when there are cores to spare.
    """
    spare = max(1, cores - 1)
    threads = max(1, spare // cameras)
    return LoadOptions(threads=threads, parallel=min(cameras, max(1, cores // threads)))


def load_options(options: ModelStageOptions, plan: LoadOptions, cameras: int) -> LoadOptions:
    """How the engine of a stage is loaded, on a site of so many cameras."""
    threads = options.threads or plan.threads
    return LoadOptions(options.precision, threads, plan.parallel, options.device, options.most_at_once(cameras))


def _load(
    options: ModelStageOptions,
    bundle: Bundle,
    plan: LoadOptions,
    slots: dict[str, Slots],
    cameras: int,
    go_on: Callable[[], None],
) -> Served:
    load = load_options(options, plan, cameras)
    servers = None
    if isinstance(options, DetectOptions) and options.remote is not None:
        servers = Servers(bundle, options, options.remote, SystemClock())
        servers.start(go_on)
    chosen = _choose(options, bundle, load, servers, go_on)
    batching = _why_not_gather(options, bundle, chosen, load)
    if batching and load.batch > 1:
        # An engine for a batch of any size may be slower with one frame than an engine for one.
        load = replace(load, batch=1)
        chosen = _choose(options, bundle, load, servers, go_on)
    device, proof = chosen.engine.device, chosen.proof
    precision = precision_of(chosen.file, options.precision)
    model = ServedModel(bundle.spec.name, chosen.backend, device, precision, bundle.spec.labels)
    _log.info(
        "model %s runs on %s %s (%s, threads: %d, side by side: %d); golden data: %s",
        model.name, model.backend, device, model.precision, load.threads, load.parallel, proof,
    )  # fmt: skip
    if proof.state != "verified":
        _log.warning("model %s: %s; `edge-vision models golden` makes golden data", model.name, _CAVEATS[proof.state])
    queue = slots.setdefault(device, Slots(device, plan.parallel))
    ends = bundle.ends_of(chosen.file)
    served = Served(bundle, chosen.engine, model, queue, chosen.passed_over, ends, proof, servers, batching or "no")
    return served if load.batch == 1 else _gathering(served, options, load.batch)


def _choose(
    options: ModelStageOptions, bundle: Bundle, load: LoadOptions, servers: Servers | None, go_on: Callable[[], None]
) -> Selected[Proof]:
    """The runtime of this machine, or nobody when there is none and a server answers.

    Raises NoBackendError when nothing serves or ever will; InferenceError when a server may come back.
    """

    def admitted(name: str, file: ModelFile, options: LoadOptions) -> None:
        go_on()
        admit(name, file, options)

    try:
        return select(bundle.spec, options.backends, load, partial(_prove, bundle, load), admitted)
    except NoBackendError as error:
        if servers is None:
            raise
        if next(servers.online(), None) is None:
            away = "".join(f"\n  {server.url}: {server.state}: {server.error}" for server in servers)
            msg = f"{error}\nand no server answers as it should:{away}"
            wrong = type(error) if all(server.state == "refused" for server in servers) else InferenceError
            raise wrong(msg) from error
        _log.warning("%s\nNobody stands in when the servers are lost", error)
        servers.start(go_on)  # to find that out may have taken minutes: the proof should be fresh when frames come
        file = bundle.spec.files[0]
        return Selected(AbsentEngine(file, str(error)), file, "none", Proof(bundle.proof, None), ())


def _why_not_gather(options: ModelStageOptions, bundle: Bundle, chosen: Selected[Proof], load: LoadOptions) -> str:
    """Why the frames of several cameras are not gathered though that was asked for; empty when they are to be."""
    if load.batch == 1 or isinstance(chosen.engine, AbsentEngine):
        return ""
    file = chosen.file
    # The crops of one frame are at hand anyway: they need not wait for each other, so that nothing must be gained.
    measured = isinstance(options, DetectOptions) and options.batching is not None and not options.batching.always
    why = why_not_batch(chosen.engine, file.input_shape, file.input_dtype, load.batch, measured=measured)
    if why:
        _log.info("model %s: frames are not gathered: %s", bundle.spec.name, why)
    return why and f"no: {why}"


def _gathering(served: Served, options: ModelStageOptions, most: int) -> Served:
    """The same with several crops of a frame, or frames of several cameras, in one inference."""
    if isinstance(served.engine, AbsentEngine):
        return served
    if not isinstance(options, DetectOptions) or options.batching is None:
        return replace(served, batch=most, batching=f"up to {most} crops")
    engine = BatchingEngine(served.engine, served.slots, most, options.batching.window_ms / 1e3, options.timeout_s)
    # The batch waits for the device, not each of its frames: those meet in front of it.
    return replace(served, engine=engine, slots=Slots(engine.device, sys.maxsize), batching=f"up to {most} frames")


def _prove(bundle: Bundle, options: LoadOptions, name: str, file: ModelFile, engine: Engine) -> Proof:
    """The golden check of a candidate. Raises ParityError when it sees something else than the reference."""
    if bundle.golden is None:
        return Proof(bundle.proof, None)
    verdict = proven(bundle, bundle.golden, name, file, engine, options)
    if not verdict.passed:
        raise ParityError(verdict.reason)
    return Proof(bundle.proof, verdict.agreement)


def _key(options: ModelStageOptions) -> _Key:
    """What decides about the engine: cameras and stages that differ elsewhere share it."""
    own = (options.remote, options.batching) if isinstance(options, DetectOptions) else (options.most_at_once(1),)
    run = (options.model, options.backends, options.device, options.precision, options.threads, options.timeout_s)
    return (*run, *own)
