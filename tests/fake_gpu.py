"""A fake GPU: a libcuda and a TensorRT that keep the books, and fail where the real ones would.

Neither is NVIDIA's, and nothing here shows that the real ones behave so. What they show is that our side gives each
function what its documentation asks for: memory that is large enough and alive, copies and kernels in the order of the
stream, results read after waiting and not before, everything given back in the end.
"""

import ctypes
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUT_OF_MEMORY, INVALID_VALUE, INVALID_CONTEXT, ILLEGAL_ADDRESS = 2, 1, 201, 700
_NAMES = {OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY", ILLEGAL_ADDRESS: b"CUDA_ERROR_ILLEGAL_ADDRESS"}
_NEEDS_NO_CONTEXT = ("cuInit", "cuGet", "cuDriver", "cuDevice", "cuCtx")
_WHAT_IS_QUEUED = ("cuMemcpy", "execute")


class _Function:
    """A function of a library: ctypes' attributes can be set on it, as on a real one."""

    def __init__(self, run: Callable[..., int]) -> None:
        self._run = run
        self.argtypes: Any = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> int:
        assert self.argtypes is not None, "called before its types were declared"
        for kind, argument in zip(self.argtypes, arguments, strict=True):
            kind.from_param(argument)  # raises when ctypes would not take it
        return self._run(*arguments)


@dataclass
class FakeCuda:
    """A libcuda without a GPU; `fail` maps a function's name to the code it gives, `log` holds the calls."""

    fail: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    gpus: int = 1
    started: bool = False
    device: dict[int, Any] = field(default_factory=dict)
    host: dict[int, Any] = field(default_factory=dict)
    streams: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    events: dict[int, int] = field(default_factory=dict)
    _numbers: int = 100
    _current: threading.local = field(default_factory=threading.local)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __getattr__(self, name: str) -> _Function:
        if not name.startswith("cu"):
            raise AttributeError(name)
        run = getattr(type(self), f"_{name}")

        def checked(*arguments: Any) -> int:
            with self._lock:
                if name != "cuGetErrorName":
                    self.log.append(name)
                if name in self.fail:
                    return self.fail[name]
                if not name.startswith(_NEEDS_NO_CONTEXT) and not getattr(self._current, "context", None):
                    return INVALID_CONTEXT
                return run(self, *arguments) or 0

        return _Function(checked)

    def left(self) -> dict[str, int]:
        """How many things nobody gave back."""
        kinds = {"device": self.device, "host": self.host, "streams": self.streams, "events": self.events}
        return {name: len(things) for name, things in kinds.items() if things}

    def queue(self, stream: int, what: str, work: Callable[[], None]) -> None:
        """Put work into a stream: it is done when somebody waits for it."""
        with self._lock:
            self.log.append(what)
            self.streams[stream].append(work)

    def _handle(self) -> int:
        self._numbers += 1
        return self._numbers

    def _cuInit(self, flags: int) -> None:  # noqa: N802 - libcuda's name
        assert flags == 0
        self.started = True

    def _cuGetErrorName(self, code: int, name: Any) -> None:  # noqa: N802 - libcuda's name
        name._obj.value = _NAMES.get(code)

    def _cuDriverGetVersion(self, version: Any) -> None:  # noqa: N802 - libcuda's name
        version._obj.value = 12040

    def _cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802 - libcuda's name
        count._obj.value = self.gpus

    def _cuDeviceGet(self, device: Any, number: int) -> None:  # noqa: N802 - libcuda's name
        device._obj.value = number

    def _cuDeviceGetName(self, name: Any, size: int, device: int) -> None:  # noqa: N802 - libcuda's name
        del size, device
        name.value = b"Fake GPU"

    def _cuDeviceGetAttribute(self, value: Any, which: int, device: int) -> None:  # noqa: N802 - libcuda's name
        del device
        value._obj.value = {75: 8, 76: 7}[which]

    def _cuDevicePrimaryCtxRetain(self, context: Any, device: int) -> None:  # noqa: N802 - libcuda's name
        context._obj.value = 1 + device

    def _cuCtxSetCurrent(self, context: int) -> None:  # noqa: N802 - libcuda's name
        self._current.context = context

    def _cuStreamCreate(self, stream: Any, flags: int) -> None:  # noqa: N802 - libcuda's name
        assert flags == 1, "a stream that waits for the default stream"
        stream._obj.value = self._handle()
        self.streams[stream._obj.value] = []

    def _cuStreamSynchronize(self, stream: int) -> None:  # noqa: N802 - libcuda's name
        for work in self.streams[stream]:
            work()
        self.streams[stream].clear()

    def _cuStreamDestroy_v2(self, stream: int) -> None:  # noqa: N802 - libcuda's name
        del self.streams[stream]

    def _cuEventCreate(self, event: Any, flags: int) -> None:  # noqa: N802 - libcuda's name
        assert flags == 3, "an event that spins or takes times"
        event._obj.value = self._handle()
        self.events[event._obj.value] = 0

    def _cuEventRecord(self, event: int, stream: int) -> None:  # noqa: N802 - libcuda's name
        self.events[event] = stream

    def _cuEventSynchronize(self, event: int) -> None:  # noqa: N802 - libcuda's name
        self._cuStreamSynchronize(self.events[event])

    def _cuEventDestroy_v2(self, event: int) -> None:  # noqa: N802 - libcuda's name
        del self.events[event]

    def _cuMemAlloc_v2(self, address: Any, size: int) -> None:  # noqa: N802 - libcuda's name
        address._obj.value = self._allocate(self.device, size)

    def _cuMemFree_v2(self, address: int) -> None:  # noqa: N802 - libcuda's name
        del self.device[address]

    def _cuMemHostAlloc(self, address: Any, size: int, flags: int) -> None:  # noqa: N802 - libcuda's name
        assert flags == 0
        address._obj.value = self._allocate(self.host, size)

    def _cuMemFreeHost(self, address: int) -> None:  # noqa: N802 - libcuda's name
        del self.host[address]

    def _cuMemcpyHtoDAsync_v2(self, to: int, source: int, size: int, stream: int) -> int:  # noqa: N802 - libcuda's name
        return self._copy(to, source, size, stream, "HtoD", self.device, self.host)

    def _cuMemcpyDtoHAsync_v2(self, to: int, source: int, size: int, stream: int) -> int:  # noqa: N802 - libcuda's name
        return self._copy(to, source, size, stream, "DtoH", self.host, self.device)

    def _allocate(self, memory: dict[int, Any], size: int) -> int:
        assert size > 0
        block = (ctypes.c_byte * size)()
        ctypes.memset(block, 0x5A, size)
        memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _copy(
        self, to: int, source: int, size: int, stream: int, way: str, target: dict[int, Any], origin: dict[int, Any]
    ) -> int:
        del way
        if to not in target or source not in origin or size > len(target[to]) or size > len(origin[source]):
            return INVALID_VALUE
        self.streams[stream].append(lambda: (ctypes.memmove(to, source, size), None)[1])
        return 0


class _Types(Enum):
    FLOAT = "float32"
    HALF = "float16"
    UINT8 = "uint8"
    INT32 = "int32"
    BF16 = "bfloat16"


class _Mode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class _Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _Logger:
    Severity = _Severity

    def log(self, level: Any, text: str) -> None:
        raise NotImplementedError


class _Flag(IntEnum):
    FP16 = 0
    INT8 = 1
    TF32 = 2


@dataclass
class _Tensor:
    mode: _Mode
    dtype: _Types
    shape: tuple[int, ...]


class _Engine:
    """An engine whose outputs are its input times 2, 3, ... as far as they have room for it."""

    def __init__(self, cuda: FakeCuda, logger: Any, tensors: dict[str, _Tensor]) -> None:
        self.cuda, self.logger, self.tensors = cuda, logger, tensors
        self.num_io_tensors = len(tensors)
        self.contexts = 0
        self.no_context: str | None = None

    def get_tensor_name(self, number: int) -> str:
        return list(self.tensors)[number]

    def get_tensor_mode(self, name: str) -> _Mode:
        return self.tensors[name].mode

    def get_tensor_dtype(self, name: str) -> _Types:
        return self.tensors[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        shape = self.tensors[name].shape
        return [tuple(size if have == -1 else have for have in shape) for size in (1, 4, 4)]

    def create_execution_context(self) -> "_Context | None":
        if self.no_context is not None:
            self.logger.log(_Severity.ERROR, "no memory for a context")
            if self.no_context:
                raise RuntimeError(self.no_context)
            return None
        self.contexts += 1
        self.cuda.log.append("create context")
        return _Context(self, first=self.contexts == 1)


class _Context:
    """An execution context; a context after the first has no profile until it is told (TensorRT 8.6)."""

    def __init__(self, engine: _Engine, *, first: bool) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        self._profile = first

    def __del__(self) -> None:
        self._engine.cuda.log.append("destroy context")

    def _open(self) -> bool:
        return any(-1 in one.shape for one in self._engine.tensors.values() if one.mode is _Mode.INPUT)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in self._engine.cuda.streams
        self._profile = profile_index == 0
        return self._profile

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fits = all(have in (-1, want) for have, want in zip(self._engine.tensors[name].shape, shape, strict=True))
        if not self._profile or not fits or shape[-1] > 64 or shape[0] > 4:
            text = f"{name}: {shape} is outside the profile"
            self._engine.logger.log(_Severity.ERROR, text)
            return False
        self._shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = self._engine.tensors[name].shape
        if self._shape is None or len(shape) != len(self._shape):
            return shape
        return tuple(want if have == -1 else have for have, want in zip(shape, self._shape, strict=True))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if memory not in self._engine.cuda.device or self._engine.tensors.get(name) is None:
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        ready = not self._open() or (self._profile and self._shape is not None)
        if not ready or set(self._addresses) != set(self._engine.tensors):
            self._engine.logger.log(_Severity.ERROR, "a shape or an address is missing")
            return False
        self._engine.cuda.queue(stream_handle, "execute", self._run)
        return True

    def _run(self) -> None:
        arrays = {name: self._array(name) for name in self._engine.tensors}
        (source,) = [arrays[name] for name, one in self._engine.tensors.items() if one.mode is _Mode.INPUT]
        outputs = [arrays[name] for name, one in self._engine.tensors.items() if one.mode is _Mode.OUTPUT]
        for number, array in enumerate(outputs):
            array.flat[:] = (source.astype(np.float32).ravel()[: array.size] * (2 + number)).astype(array.dtype)

    def _array(self, name: str) -> NDArray[Any]:
        shape, dtype = self.get_tensor_shape(name), self._engine.tensors[name].dtype.value
        block = self._engine.cuda.device[self._addresses[name]]
        return np.frombuffer(block, dtype, int(np.prod(shape))).reshape(shape)


def fake_plan(**tensors: tuple[str, tuple[int, ...]]) -> bytes:
    """An engine as the fake reads it: names with type and shape; the first is the input."""
    return json.dumps({"fake": tensors}).encode()


def fake_tensorrt(cuda: FakeCuda, version: str = "8.6.2") -> Any:
    """A module like TensorRT's, as far as running engines needs it; `made` holds the engines it loaded."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = version
    trt.ILogger, trt.TensorIOMode, trt.DataType, trt.BuilderFlag = _Logger, _Mode, _Types, _Flag
    trt.made = []

    class Runtime:
        def __init__(self, logger: Any) -> None:
            assert cuda.started, "the real one ends the process"
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
            try:
                given = json.loads(plan)["fake"]
            except ValueError:
                self._logger.log(_Severity.ERROR, "Serialization assertion stdVersionRead == kVERSION failed.")
                return None
            modes = [_Mode.INPUT] + [_Mode.OUTPUT] * len(given)
            tensors = {
                name: _Tensor(mode, _Types[dtype], tuple(shape))
                for mode, (name, (dtype, shape)) in zip(modes, given.items(), strict=False)
            }
            trt.made.append(_Engine(cuda, self._logger, tensors))
            return trt.made[-1]  # type: ignore[no-any-return]

    trt.Runtime = Runtime
    return trt
