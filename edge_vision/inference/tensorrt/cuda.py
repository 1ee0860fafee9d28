"""The CUDA driver, in one place: which GPUs there are, memory on them, and copies that run beside the program.

Bound by ctypes to libcuda.so.1, which every NVIDIA driver brings, on a PC and on a Jetson: neither the CUDA toolkit nor
a Python package is needed. TensorRT computes in the primary context of a device, and so does everything here.
"""

import ctypes
import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_byte, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError

_DRIVER: Final = "libcuda.so.1"
_KERNEL_MODULE: Final = Path("/proc/driver/nvidia/version")
_EVENT_FLAGS: Final = 1 | 2
"""CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING: who waits sleeps, and takes no core from other threads."""
_NON_BLOCKING: Final = 1
"""CU_STREAM_NON_BLOCKING: no waiting for the default stream, on which other libraries work."""
_CAPABILITY_MAJOR: Final = 75
_CAPABILITY_MINOR: Final = 76

_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventDestroy_v2": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its name, its compute capability, and the version of the driver."""

    name: str
    capability: tuple[int, int]
    driver: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]})"


class Driver:
    """The driver's functions, with their types, and errors in place of codes; `library` is libcuda."""

    def __init__(self, library: Any) -> None:
        self._functions = {name: getattr(library, name) for name in _PROTOTYPES}
        for name, types in _PROTOTYPES.items():
            self._functions[name].argtypes = types
            self._functions[name].restype = c_int
        self._contexts: dict[int, int] = {}

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver. Raises InferenceError with the name of what went wrong."""
        code = self._functions[name](*arguments)
        if code:
            msg = f"cuda: {name}: {self._error(code)}"
            raise InferenceError(msg)

    def number(self, name: str, *arguments: Any) -> int:
        """Call a function that gives a number, a handle or an address through its first argument."""
        result = _PROTOTYPES[name][0]._type_()
        self.call(name, byref(result), *arguments)
        return result.value or 0

    def enter(self, device: int) -> None:
        """Make the calling thread work on a device."""
        if device not in self._contexts:  # held until the process ends: TensorRT uses it too
            self._contexts[device] = self.number("cuDevicePrimaryCtxRetain", self.number("cuDeviceGet", device))
        self.call("cuCtxSetCurrent", self._contexts[device])

    def _error(self, code: int) -> str:
        name = c_char_p()
        self._functions["cuGetErrorName"](code, byref(name))
        return f"{(name.value or b'unknown error').decode(errors='replace')} ({code})"


@functools.cache
def driver() -> Driver:
    """The driver of this machine, started. Raises BackendUnavailableError when there is none or it sees no GPU."""
    try:
        library = ctypes.CDLL(_DRIVER)
    except OSError as error:
        msg = f"no NVIDIA driver ({_DRIVER})"
        raise BackendUnavailableError(msg) from error
    try:
        found = Driver(library)
        found.call("cuInit", 0)
        count = found.number("cuDeviceGetCount")
    except (AttributeError, InferenceError) as error:
        msg = f"the NVIDIA driver ({_DRIVER}) does not work: {error}"
        raise BackendUnavailableError(msg) from error
    if not count:
        msg = f"the NVIDIA driver ({_DRIVER}) sees no GPU"
        raise BackendUnavailableError(msg)
    return found


def gpu(number: int = 0) -> Gpu:
    """The GPU of that number. Raises BackendUnavailableError when there is none."""
    cuda = driver()
    try:
        device = cuda.number("cuDeviceGet", number)
        name = ctypes.create_string_buffer(256)
        cuda.call("cuDeviceGetName", name, len(name), device)
        major, minor = (
            cuda.number("cuDeviceGetAttribute", which, device) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
        )
        version = cuda.number("cuDriverGetVersion")
    except InferenceError as error:
        msg = f"GPU {number} cannot be used: {error}"
        raise BackendUnavailableError(msg) from error
    api = f"CUDA {version // 1000}.{version % 1000 // 10}"
    return Gpu(name.value.decode(errors="replace"), (major, minor), f"{api}, driver {_kernel_module()}".strip())


def _kernel_module() -> str:
    """The version of the kernel module, as its own line says it; a Jetson has none, there CUDA's must do."""
    try:
        words = _KERNEL_MODULE.read_text(encoding="utf-8", errors="replace").split("Kernel Module", 1)[1].split()
    except (OSError, IndexError):
        return "of the board"
    return next((word for word in words if word[0].isdigit()), "unknown")


class Stream:
    """A queue of work on a GPU, beside those of other threads; made by `open_stream`."""

    def __init__(self, cuda: Driver, handle: int, event: int) -> None:
        self.handle = handle
        self._cuda = cuda
        self._event = event

    def copy_in(self, address: int, array: NDArray[Any]) -> None:
        """Queue a copy of a pinned array to the device; the array must stay as it is until `wait`."""
        self._cuda.call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self.handle)

    def copy_out(self, array: NDArray[Any], address: int) -> None:
        """Queue a copy from the device into a pinned array, which holds it after `wait`."""
        self._cuda.call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self.handle)

    def wait(self) -> None:
        """Sleep until all that was queued is done. Raises InferenceError when some of it failed."""
        self._cuda.call("cuEventRecord", self._event, self.handle)
        self._cuda.call("cuEventSynchronize", self._event)


@contextmanager
def open_stream(device: int = 0) -> Iterator[Stream]:
    """A stream for the calling thread, which works on `device` from now on."""
    cuda = driver()
    cuda.enter(device)
    handle = cuda.number("cuStreamCreate", _NON_BLOCKING)
    try:
        event = cuda.number("cuEventCreate", _EVENT_FLAGS)
        try:
            yield Stream(cuda, handle, event)
        finally:
            cuda.call("cuEventDestroy_v2", event)
    finally:
        cuda.call("cuStreamDestroy_v2", handle)


@contextmanager
def device_memory(stream: Stream, size: int) -> Iterator[int]:
    """The address of `size` bytes on the device of the calling thread, freed when the stream is done with them."""
    cuda = driver()
    address = cuda.number("cuMemAlloc_v2", max(size, 1))
    try:
        yield address
    finally:
        cuda.call("cuStreamSynchronize", stream.handle)
        cuda.call("cuMemFree_v2", address)


def pinned(shape: tuple[int, ...], dtype: str, device: int = 0) -> NDArray[Any]:
    """An array that the device copies from and to without help of the processor.

    Its memory is freed when the last view of it is gone, so that an output may outlive the session it came from.
    """
    cuda = driver()
    count = int(np.prod(shape, dtype=np.int64))
    size = max(count * np.dtype(dtype).itemsize, 1)
    address = cuda.number("cuMemHostAlloc", size, 0)
    memory: Any = (c_byte * size).from_address(address)
    weakref.finalize(memory, _free_pinned, cuda, device, address).atexit = False  # the process' end frees all
    return np.frombuffer(memory, dtype, count).reshape(shape)


def _free_pinned(cuda: Driver, device: int, address: int) -> None:
    cuda.enter(device)  # whichever thread lets go of the last view
    cuda.call("cuMemFreeHost", address)
