"""Builds TensorRT engines from ONNX files, with what each release of TensorRT offers for it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import BackendUnavailableError, EdgeVisionError, ModelError
from edge_vision.core.files import write_whole
from edge_vision.core.model import ModelFile
from edge_vision.core.tensor import TensorSpec
from edge_vision.inference.shapes import check_input, short
from edge_vision.inference.tensorrt import engine_cache
from edge_vision.inference.tensorrt.cuda import Gpu
from edge_vision.inference.tensorrt.engine_cache import EngineKey
from edge_vision.inference.tensorrt.library import Library

DTYPES: Final = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""What TensorRT calls the types of tensors, and what NumPy does; it has no bfloat16."""
_FLAGS: Final = {"f16": "FP16", "bf16": "BF16", "int8": "INT8"}
_WORKSPACE: Final = 1 << 30
"""Most scratch memory of a kernel, in bytes: without a limit a build on a Jetson takes the memory of all others."""

Tell = Callable[[int, int], None]
"""Hears what is done and what is expected."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes an engine takes: any between `least` and `most`; it is fastest at `usual`."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]

    @staticmethod
    def up_to(batch: int, shape: tuple[int, ...]) -> "Profile":
        """One to `batch` pictures of one shape; fastest at all of them."""
        most = (max(batch, shape[0]), *shape[1:])
        return Profile(shape, most, most)

    def where_open(self, shape: tuple[int, ...]) -> "Profile":
        """The same, but for the dimensions of `shape` that are not open (-1)."""
        least, usual, most = (
            tuple(want if have == -1 else have for have, want in zip(shape, wanted, strict=True))
            for wanted in (self.least, self.usual, self.most)
        )
        return Profile(least, usual, most)


def key_of(library: Library, gpu: Gpu | None, file: ModelFile, precision: str, profile: Profile) -> EngineKey:
    """What the engine of a file is kept under. Raises BackendUnavailableError when the file cannot be read."""
    device, driver = library.device_of(gpu)
    shapes = (profile.least, profile.usual, profile.most)
    model = engine_cache.model_digest(file.path)
    return EngineKey(model, library.runtime, device, driver, computed(file, precision), shapes)


def computed(file: ModelFile, precision: str) -> str:
    """The precision of an engine: that of the weights, where f32 was asked for and they have less."""
    return file.precision if precision == "f32" else precision


def build(library: Library, gpu: Gpu | None, file: ModelFile, precision: str, profile: Profile, tell: Tell) -> bytes:
    """The engine of an ONNX file, ready to be kept; takes from half a second to many minutes.

    Raises BackendUnavailableError naming the file, and the node where TensorRT does; ModelError when the network's
    input is not what the bundle says.
    """
    if gpu is None and not library.portable:
        msg = f"{library.runtime} builds engines on the GPU that runs them, and there is none here"
        raise BackendUnavailableError(msg)
    with library.errors.listening():
        try:
            return _build(library, gpu, file, precision, profile, tell)
        except EdgeVisionError:
            raise
        except Exception as error:  # releases differ in what they raise, and where
            msg = f"{file.path}: {library.runtime} cannot build an engine: {short(error)}; {library.errors}"
            raise BackendUnavailableError(msg) from error


def _build(library: Library, gpu: Gpu | None, file: ModelFile, precision: str, profile: Profile, tell: Tell) -> bytes:
    trt = library.module
    try:
        builder = trt.Builder(library.logger)
    except Exception as error:
        msg = f"{library.runtime} cannot build engines here: {library.errors}"
        raise BackendUnavailableError(msg) from error
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, library.logger)
    _parse(library, parser, network, file.path)
    check_input(tuple(_spec(network.get_input(number)) for number in range(network.num_inputs)), file)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    _set_precision(library, config, computed(file, precision))
    _set_shapes(library, builder, network, config, profile, file)
    _set_device(library, config, gpu)
    times = _set_timing_cache(library, config, gpu)
    monitor = _monitor(trt, tell)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.steps.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        msg = f"{file.path}: {library.runtime} cannot build an engine: {library.errors}"
        raise BackendUnavailableError(msg)
    if times is not None:
        _keep_times(times, config)
    return bytes(plan)


def _network_flags(trt: Any) -> int:
    """Batch sizes are explicit where there is a choice; types are the file's where no flag can change them."""
    flags = trt.NetworkDefinitionCreationFlag
    wanted = [getattr(flags, "EXPLICIT_BATCH", None)]
    if not hasattr(trt.BuilderFlag, "FP16"):
        wanted.append(getattr(flags, "STRONGLY_TYPED", None))
    return sum(1 << int(flag) for flag in wanted if flag is not None)


def _parse(library: Library, parser: Any, network: Any, path: Path) -> None:
    if not path.is_file():
        msg = f"cannot read {path}: no such file"
        raise BackendUnavailableError(msg)
    if not parser.parse_from_file(str(path)):
        found = [_described(parser.get_error(number)) for number in range(parser.num_errors)]
        msg = f"{path}: {library.runtime} cannot read it: {short(Exception('; '.join(found) or str(library.errors)))}"
        raise BackendUnavailableError(msg)
    if not network.num_outputs:  # an empty file is read without complaint
        msg = f"{path}: holds no network"
        raise BackendUnavailableError(msg)


def _described(complaint: Any) -> str:
    """A parser's error with the node it speaks of; older releases know the number of the node only."""
    number, text = complaint.node(), str(complaint.desc())
    if number < 0:
        return text
    name = getattr(complaint, "node_name", str)()
    operator = getattr(complaint, "node_operator", str)()
    return f"node {name or f'number {number}'}{f' ({operator})' if operator else ''}: {text}"


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(tensor.name, tuple(tensor.shape), DTYPES.get(tensor.dtype.name, tensor.dtype.name.lower()))


def _set_precision(library: Library, config: Any, precision: str) -> None:
    trt = library.module
    if hasattr(trt.BuilderFlag, "TF32"):  # on by default; keeps 10 of the 23 bits that f32 stands for
        config.clear_flag(trt.BuilderFlag.TF32)
    if precision == "f32":
        return
    flag = getattr(trt.BuilderFlag, _FLAGS[precision], None)
    if flag is not None:
        config.set_flag(flag)


def _set_shapes(library: Library, builder: Any, network: Any, config: Any, profile: Profile, file: ModelFile) -> None:
    """Say which shapes an input with open dimensions will have."""
    trt = library.module
    tensor = network.get_input(0)
    if -1 not in tuple(tensor.shape):
        return
    asked = profile.where_open(tuple(tensor.shape))
    shapes = builder.create_optimization_profile()
    shapes.set_shape(tensor.name, asked.least, asked.usual, asked.most)
    if config.add_optimization_profile(shapes) < 0:
        msg = f"{file.path}: its input {_spec(tensor)} cannot have the shapes {asked}: {library.errors}"
        raise ModelError(msg)
    # Before TensorRT 10 the sessions of an engine shared a profile only when this was asked for.
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None:
        config.set_preview_feature(sharing, True)


def _set_device(library: Library, config: Any, gpu: Gpu | None) -> None:
    """Engines of TensorRT-RTX are for compute capability 8.0 and later, unless they are for 7.5 alone."""
    if not library.portable or gpu is None or not library.device_of(gpu)[0].endswith(" 7.5"):
        return
    config.num_compute_capabilities = 1
    config.set_compute_capability(library.module.ComputeCapability.SM75, 0)


def _set_timing_cache(library: Library, config: Any, gpu: Gpu | None) -> Path | None:
    """Use what earlier builds on this device measured, and say where it is; TensorRT-RTX measures nothing."""
    if library.portable:
        return None
    path = engine_cache.timing_cache(library.runtime, *library.device_of(gpu))
    try:
        known = path.read_bytes()
    except OSError:
        known = b""
    times = config.create_timing_cache(known)
    if times is None:  # damaged
        times = config.create_timing_cache(b"")
    config.set_timing_cache(times, False)
    return path


def _keep_times(path: Path, config: Any) -> None:
    try:
        write_whole(path, bytes(config.get_timing_cache().serialize()))
    except OSError:
        return  # the next build measures again


@dataclass(slots=True)
class Steps:
    """How far a build is, from the phases it tells of: each has steps, and a step may be a phase of its own."""

    tell: Tell
    interrupted: bool = False
    _phases: dict[str, tuple[str | None, int, int]] = field(default_factory=dict)
    _shown: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase began, as a step of its parent."""
        with self._lock:
            self._phases[phase] = (parent, 0, max(steps, 1))

    def step(self, phase: str, number: int) -> bool:
        """A step of a phase is done. False asks TensorRT to stop, after Ctrl-C."""
        with self._lock:
            parent, _, steps = self._phases.get(phase, (None, 0, 1))
            self._phases[phase] = (parent, min(number + 1, steps), steps)
            done = int(100 * sum(self._part(name) for name, (above, _, _) in self._phases.items() if above is None))
            if done > self._shown and not self.interrupted:
                self._shown = min(done, 99)
                try:
                    self.tell(self._shown, 100)
                except KeyboardInterrupt:  # it must not pass through TensorRT's own code
                    self.interrupted = True
        return not self.interrupted

    def finish(self, phase: str) -> None:
        """A phase ended."""
        with self._lock:
            if self._phases.get(phase, (None, 0, 0))[0] is not None:
                del self._phases[phase]

    def _part(self, phase: str) -> float:
        _, done, steps = self._phases[phase]
        inner = sum(self._part(name) for name, (above, _, _) in self._phases.items() if above == phase)
        return min(1.0, (done + min(inner, 1.0)) / steps)


def _monitor(trt: Any, tell: Tell) -> Any:
    """What hears of a build's progress, or None: TensorRT tells of it from 9.1 on."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the library is not typed
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps = Steps(tell)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps.start(phase, parent, steps)

        def step_complete(self, phase: str, number: int) -> bool:
            return self.steps.step(phase, number)

        def phase_finish(self, phase: str) -> None:
            self.steps.finish(phase)

    return Monitor()
