"""TensorRT on NVIDIA GPUs: runs engines that were built ahead, with `edge-vision models build`, and never builds."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.files import sha256_of
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_device, check_input, short
from edge_vision.inference.tensorrt import cuda, engine_cache
from edge_vision.inference.tensorrt.builder import DTYPES, Profile, computed, key_of
from edge_vision.inference.tensorrt.cuda import Gpu, Stream
from edge_vision.inference.tensorrt.library import Library, find_library

_DEVICES = ("GPU", "CUDA")
_BUILD = "run `edge-vision models build SITE.yaml` on this machine"


class TensorRt:
    """The `tensorrt` backend, on the first GPU."""

    formats = ("tensorrt", "onnx")

    def probe(self) -> Availability:
        """Whether there is a driver, a GPU and the library; the driver comes first, as the library relies on it."""
        reasons, version, devices = [], "", tuple[str, ...]()
        try:
            devices = (str(cuda.gpu()),)
        except BackendUnavailableError as error:
            reasons.append(str(error))
        try:
            version = find_library().version
        except MissingLibraryError as error:
            # Who has no GPU gains nothing from installing it.
            reasons.append(str(error).partition(":")[0] if reasons else str(error))
        reason = "; ".join(reasons) or "works"
        return Availability(available=not reasons, reason=reason, version=version, devices=devices)

    def load(self, file: ModelFile, options: LoadOptions) -> "TensorRtEngine":
        """Load the engine of a file. Raises BackendUnavailableError, also when none was built yet."""
        check_device(options.device, _DEVICES)
        gpu = cuda.gpu()
        try:
            library = find_library()
        except MissingLibraryError as error:
            raise BackendUnavailableError(str(error)) from error
        check_precision(library, file, options.precision)
        if file.format == "tensorrt":
            remedy = f"an engine serves one release and GPU: put its ONNX file into the bundle, and {_BUILD}"
            return _open(library, gpu, file, file.path, options.batch, remedy)
        profile = Profile.up_to(options.batch, file.input_shape)
        entry = engine_cache.find(key_of(library, gpu, file, options.precision, profile))
        if entry is None:
            precision, most = computed(file, options.precision), list(profile.most)
            what = f"{file.path} ({precision}, {most}, {library.runtime}, {gpu})"
            msg = f"no engine built for {what} in {engine_cache.engines_folder()}: {_BUILD}"
            raise BackendUnavailableError(msg)
        return _open(library, gpu, file, entry.path, options.batch, f"build it again: delete it, and {_BUILD}")


def check_precision(library: Library, file: ModelFile, precision: str) -> None:
    """Raise BackendUnavailableError unless engines of a file can compute as asked."""
    if precision in {"f32", file.precision}:
        return
    if file.format == "tensorrt":
        msg = (
            f"{file.path}: its precision ({file.precision}) was chosen when it was built; {precision} is not to be had"
        )
        raise BackendUnavailableError(msg)
    flag = {"f16": "FP16", "bf16": "BF16", "int8": "INT8"}.get(precision, precision)
    if not hasattr(library.module.BuilderFlag, flag):
        msg = (
            f"{library.runtime} computes in the precision of the file ({file.precision}): for {precision} put a file "
            "of that precision into the bundle"
        )
        raise BackendUnavailableError(msg)


def _open(library: Library, gpu: Gpu, file: ModelFile, path: Path, batch: int, remedy: str) -> "TensorRtEngine":
    try:
        plan = path.read_bytes()
        digest = sha256_of(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise BackendUnavailableError(msg) from error
    with library.errors.listening():
        try:
            runtime = library.module.Runtime(library.logger)
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is not None:
                loaded = TensorRtEngine(library, runtime, engine, gpu, file.input_shape, batch)
        except Exception as error:
            msg = f"{path}: {library.runtime} on {gpu} cannot load it: {short(error)}; {remedy}"
            raise BackendUnavailableError(msg) from error
        if engine is None:
            msg = f"{path}: {library.runtime} on {gpu} cannot load it: {library.errors}; {remedy}"
            raise BackendUnavailableError(msg)
    loaded.digest = digest
    check_input(loaded.inputs, file)
    return loaded


class TensorRtEngine:
    """A loaded engine; every session has an execution context, a stream and buffers of its own."""

    digest = ""
    """Checksum of the engine: building it again may choose other kernels, which have to be proven anew."""

    def __init__(
        self, library: Library, runtime: Any, engine: Any, gpu: Gpu, shape: tuple[int, ...], batch: int
    ) -> None:
        self.device = str(gpu)
        self._library = library
        self._runtime = runtime  # must outlive the engine
        self._engine = engine
        self._names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        self.inputs = tuple(self._spec(name) for name in self._names if self._takes(name))
        self._most = shape
        if self.inputs and self.inputs[0].shape[:1] == (-1,):
            _, _, built_for = engine.get_tensor_profile_shape(self.inputs[0].name, 0)
            self._most = (min(batch, built_for[0]), *shape[1:])

    def _takes(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._library.module.TensorIOMode.INPUT)

    def _spec(self, name: str) -> TensorSpec:
        dtype = self._engine.get_tensor_dtype(name).name
        return TensorSpec(name, tuple(self._engine.get_tensor_shape(name)), DTYPES.get(dtype, dtype.lower()))

    @contextmanager
    def open_session(self) -> Iterator["TensorRtSession"]:
        """A session for the calling thread. Raises InferenceError when the GPU has no memory left for it."""
        (taken,) = self.inputs
        with ExitStack() as resources:
            stream = resources.enter_context(cuda.open_stream())
            session = TensorRtSession(self._library, self._context(taken, stream), stream, taken, self._most)
            resources.callback(session.close)
            for name in self._names:
                array = cuda.pinned((session.size(self._spec(name)),), self._spec(name).dtype)
                address = resources.enter_context(cuda.device_memory(stream, array.nbytes))
                session.bind(name, array, address)
            yield session

    def _context(self, taken: TensorSpec, stream: Stream) -> Any:
        """A context that is told the greatest shape it will be given."""
        with self._library.errors.listening():
            try:
                context = self._engine.create_execution_context()
            except Exception as error:
                msg = f"tensorrt: no execution context: {short(error)}; {self._library.errors}"
                raise InferenceError(msg) from error
            if context is None:
                msg = f"tensorrt: no execution context: {self._library.errors}"
                raise InferenceError(msg)
            if -1 in taken.shape:
                # Only the first context of an engine has a profile by itself; the stream is the one it will run on.
                chosen = context.set_optimization_profile_async(0, stream.handle)
                if not chosen or not context.set_input_shape(taken.name, self._most):
                    msg = f"tensorrt: the engine does not take the shape {list(self._most)}: {self._library.errors}"
                    raise InferenceError(msg)
        return context


class TensorRtSession:
    """One thread's execution context, its pinned arrays and device memory; outputs live until the next call."""

    def __init__(
        self, library: Library, context: Any, stream: Stream, taken: TensorSpec, most: tuple[int, ...]
    ) -> None:
        self._library = library
        self._context = context
        self._stream = stream
        self._taken = taken
        self._most = most
        self._memory: dict[str, tuple[NDArray[Any], int]] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def size(self, spec: TensorSpec) -> int:
        """How many elements a tensor has at most. Raises InferenceError when that cannot be known, or they not read."""
        shape = tuple(self._context.get_tensor_shape(spec.name))
        known = spec.dtype in DTYPES.values()
        if not known or min(shape, default=1) < 0:
            why = "its size depends on the picture" if known else "NumPy has no such type"
            msg = f"tensorrt: {spec} cannot be read: {why}"
            raise InferenceError(msg)
        return math.prod(shape)

    def bind(self, name: str, array: NDArray[Any], address: int) -> None:
        """Give a tensor its memory, here and on the device."""
        self._memory[name] = (array, address)
        if not self._context.set_tensor_address(name, address):
            msg = f"tensorrt: {name} has no place on the device: {self._library.errors}"
            raise InferenceError(msg)

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once. Raises InferenceError."""
        name = self._taken.name
        value = tensors.get(name)
        if value is None or value.dtype != self._memory[name][0].dtype or not self._fits(value.shape):
            have = "nothing" if value is None else f"{list(value.shape)} {value.dtype}"
            msg = f"tensorrt: the input is {self._taken}, up to {list(self._most)}, not {have}"
            raise InferenceError(msg)
        if name not in self._arrays or self._arrays[name].shape != value.shape:
            self._set_shape(value.shape)
        np.copyto(self._arrays[name], value)
        self._stream.copy_in(self._memory[name][1], self._arrays[name])
        if not self._context.execute_async_v3(self._stream.handle):
            msg = f"tensorrt: {self._library.errors}"
            raise InferenceError(msg)
        outputs = {other: array for other, array in self._arrays.items() if other != name}
        for other, array in outputs.items():
            self._stream.copy_out(array, self._memory[other][1])
        self._stream.wait()
        return outputs

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether the input may have this shape: that of the bundle, and as many pictures as there is room for."""
        return shape == self._most or (
            self._taken.shape[0] == -1 and shape[1:] == self._most[1:] and 0 < shape[0] <= self._most[0]
        )

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        """Lay out the arrays for an input of this shape."""
        self._arrays = {}
        if -1 in self._taken.shape and not self._context.set_input_shape(self._taken.name, shape):
            msg = f"tensorrt: the engine does not take the shape {list(shape)}: {self._library.errors}"
            raise InferenceError(msg)
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in self._memory}
        self._arrays = {
            name: array[: math.prod(shapes[name])].reshape(shapes[name]) for name, (array, _) in self._memory.items()
        }

    def close(self) -> None:
        """Let go of the context and of the arrays; who holds an output keeps it."""
        self._context = None
        self._memory.clear()
        self._arrays.clear()
