"""ONNX Runtime: on the CPU it runs anywhere, and is the reference for every other runtime; CUDA where there is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_device, check_input, short

_log = logging.getLogger(__name__)

_CPU: Final = "CPUExecutionProvider"
_PROVIDERS: Final = {
    "CUDA": "CUDAExecutionProvider",
    "TENSORRT": "TensorrtExecutionProvider",
    "OPENVINO": "OpenVINOExecutionProvider",
    "CPU": _CPU,
}
"""The providers by the device that chooses them; without a device CUDA is tried, then the CPU."""
_SETTINGS: Final = {
    "CUDA": {"use_tf32": "0"},  # else f32 is rounded to ten bits of it
    "TENSORRT": {"trt_fp16_enable": "0", "trt_int8_enable": "0"},
    "OPENVINO": {"device_type": "CPU", "precision": "FP32"},
    "CPU": {},
}
_DTYPES: Final = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(float16)": "float16"}


class OnnxRuntime:
    """The `onnxruntime` backend."""

    formats = ("onnx",)

    def probe(self) -> Availability:
        """Whether the library imports and has the CPU provider."""
        try:
            runtime = require("onnxruntime", "cpu")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        devices = _devices(runtime)
        if "CPU" not in devices:
            reason = f"this build has no {_CPU}: {', '.join(runtime.get_available_providers())}"
            return Availability(available=False, reason=reason, version=runtime.__version__)
        return Availability(available=True, reason="works", version=runtime.__version__, devices=devices)

    def load(self, file: ModelFile, options: LoadOptions) -> "OnnxEngine":
        """Create the inference session. Raises BackendUnavailableError with the library's own sentence."""
        if options.precision not in {"f32", file.precision}:
            msg = f"computes in the precision of the file; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        runtime = require("onnxruntime", "cpu")
        session, device = _session(runtime, file, options)
        inputs = tuple(
            TensorSpec(
                node.name,
                tuple(size if isinstance(size, int) else -1 for size in node.shape),
                _DTYPES.get(node.type, node.type),
            )
            for node in session.get_inputs()
        )
        check_input(inputs, file)
        return OnnxEngine(session, inputs, device)


def _devices(runtime: Any) -> tuple[str, ...]:
    """The devices this build lists; one that is listed need not work (a build for CUDA, on a box without a GPU)."""
    listed = runtime.get_available_providers()
    return tuple(device for device, provider in _PROVIDERS.items() if provider in listed)


def _session(runtime: Any, file: ModelFile, options: LoadOptions) -> tuple[Any, str]:
    """A session, and the device that it really runs on."""
    devices = _devices(runtime)
    asked = check_device(options.device, devices)
    if asked is not None:
        return _open(runtime, file, options, asked), asked
    if "CUDA" in devices:
        try:
            return _open(runtime, file, options, "CUDA"), "CUDA"
        except BackendUnavailableError as error:
            _log.info("onnxruntime: %s; the CPU serves", error)
    return _open(runtime, file, options, "CPU"), "CPU"


def _open(runtime: Any, file: ModelFile, options: LoadOptions, device: str) -> Any:
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    # Threads that spin while they wait steal the time of the other threads of this process.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = _PROVIDERS[device]
    providers = [(provider, _SETTINGS[device])]
    if provider != _CPU:
        providers.append((_CPU, {}))
        runtime.set_default_logger_severity(4)  # a provider that fails to load writes to standard error
    try:
        # With its fallback a provider that fails, even in the middle of a day, is replaced by the CPU, and the library
        # prints so on standard output.
        session = runtime.InferenceSession(str(file.path), settings, providers=providers, enable_fallback=0)
    except Exception as error:
        msg = f"cannot load {file.path}: {short(error)}"
        raise BackendUnavailableError(msg) from error
    active = session.get_providers()[0]
    if active != provider:
        msg = f"asked for {provider}, got {active}: this build lists it, but its libraries or its device are not there"
        raise BackendUnavailableError(msg)
    return session


class OnnxEngine:
    """A loaded ONNX model; `run` may be called from many threads at once."""

    def __init__(self, session: Any, inputs: tuple[TensorSpec, ...], device: str) -> None:
        self._session = session
        self.inputs = inputs
        self.device = device

    @contextmanager
    def open_session(self) -> Iterator["OnnxSession"]:
        """A handle for the calling thread; the weights are shared."""
        yield OnnxSession(self._session)


class OnnxSession:
    """One thread's handle."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [node.name for node in session.get_outputs()]

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once. Raises InferenceError."""
        try:
            values = self._session.run(self._names, dict(tensors))
        except Exception as error:
            msg = f"onnxruntime: {short(error)}"
            raise InferenceError(msg) from error
        return {name: np.asarray(value) for name, value in zip(self._names, values, strict=True)}
