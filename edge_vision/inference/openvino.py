"""OpenVINO on Intel (and other x86) processors, and on Intel's GPUs and NPUs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.blobs import ban_blobs, is_sealed, open_blobs, seal_blobs
from edge_vision.inference.shapes import check_device, check_input, short

_log = logging.getLogger(__name__)

_DTYPES: Final = {"f32": "float32", "f16": "float16", "u8": "uint8", "i8": "int8"}
_ALIKE: Final = 1e-2
_RANDOM_SEED: Final = 7
_VIRTUAL: Final = ("AUTO", "MULTI", "HETERO")
"""Devices that share the work out among others."""


class OpenVino:
    """The `openvino` backend, on the CPU or whichever of its devices is asked for."""

    formats = ("openvino", "onnx", "tflite", "tensorflow", "savedmodel", "paddle")

    def probe(self) -> Availability:
        """Whether the library imports and sees a device; lists the devices it sees."""
        try:
            openvino = require("openvino", "openvino")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        try:
            devices = tuple(openvino.Core().available_devices)
        except Exception as error:  # noqa: BLE001 - a plugin that fails to start raises anything
            return Availability(available=False, reason=short(error), version=openvino.__version__)
        if not devices:
            return Availability(available=False, reason="sees no device", version=openvino.__version__)
        return Availability(available=True, reason="works", version=openvino.__version__, devices=devices)

    def load(self, file: ModelFile, options: LoadOptions) -> "OpenVinoEngine":
        """Read and compile the model. Raises BackendUnavailableError, with the library's own sentence."""
        openvino = require("openvino", "openvino")
        core = openvino.Core()
        device = _device(core, options.device)
        try:
            network = core.read_model(str(file.path), *([] if file.weights is None else [str(file.weights)]))
        except Exception as error:
            msg = f"cannot read {file.path}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        inputs = tuple(
            TensorSpec(_name(port, number), _shape(port), _dtype(port)) for number, port in enumerate(network.inputs)
        )
        check_input(inputs, file)
        _check_outputs(network, file)
        settings = _settings(device, options)
        try:
            if network.is_dynamic():
                network.reshape(_shape_for(inputs[0], file, options.batch))
            compiled = _compile(lambda more: core.compile_model(network, device, {**settings, **more}), file)
        except Exception as error:
            msg = f"cannot compile {file.path} for {device} (there are {', '.join(core.available_devices)}): "
            raise BackendUnavailableError(msg + short(error)) from error
        used = _check_precision(compiled, device, str(settings["INFERENCE_PRECISION_HINT"]))
        return OpenVinoEngine(compiled, inputs, used)


def _shape_for(spec: TensorSpec, file: ModelFile, batch: int) -> list[Any]:
    """The file's shape; with a first axis of 1 to `batch` where that is open and frames are to be gathered."""
    first, *rest = file.input_shape
    return [(first, batch) if batch > first and spec.shape[0] == -1 else first, *rest]


def _compile(compile_with: Callable[[dict[str, str]], Any], file: ModelFile) -> Any:
    """Compile a file, or take what was compiled before.

    What is compiled now is read back at once: 2026.4 keeps some int8 networks of old exporters wrongly, and answers
    nonsense from the second start on. Such a file is compiled at every start.
    """
    version = require("openvino", "openvino").__version__
    blobs = open_blobs("openvino", file, version)
    if blobs is None:
        return compile_with({})
    compiled = compile_with({"CACHE_DIR": str(blobs)})
    if is_sealed(blobs):
        return compiled
    again = compile_with({"CACHE_DIR": str(blobs)})
    if _same_answer(compiled, again, file):
        seal_blobs(blobs)
        return again
    _log.warning("%s: OpenVINO %s reads back something else than it compiled: not kept", file.path, version)
    ban_blobs(blobs, version)
    return compiled


def _same_answer(one: Any, other: Any, file: ModelFile) -> bool:
    """Whether two compiled models answer a picture of noise alike."""
    noise = np.random.default_rng(_RANDOM_SEED).integers(0, 256, file.input_shape).astype(file.input_dtype)
    first, second = ([np.asarray(value) for value in compiled(noise).values()] for compiled in (one, other))
    return all(
        here.shape == there.shape and np.allclose(here, there, rtol=_ALIKE, atol=_ALIKE, equal_nan=True)
        for here, there in zip(first, second, strict=True)
    )


def _device(core: Any, asked: str | None) -> str:
    """The device to compile for. Raises BackendUnavailableError when it is not there."""
    if asked is None:
        return "CPU"
    name = asked.upper()
    devices = tuple(core.available_devices)
    known = tuple(dict.fromkeys((*devices, *(device.partition(".")[0] for device in devices))))  # GPU is GPU.0
    kind, _, choice = name.partition(":")
    if kind not in _VIRTUAL:
        check_device(name, known)
        return name
    # Of a list those that are there: AUTO fails, or begins elsewhere, for the sake of one that is not.
    there = [one for one in choice.split(",") if one in known]
    if choice and not there:
        check_device(choice, known)
    return there[0] if len(there) == 1 else f"{kind}:{','.join(there)}" if there else kind


def _check_outputs(network: Any, file: ModelFile) -> None:
    """Raise BackendUnavailableError for the quantized outputs of a TFLite file: what they mean is not told here."""
    for number, port in enumerate(network.outputs):
        if file.format == "tflite" and _dtype(port) in {"uint8", "int8"}:
            msg = f"{file.path}: output {_name(port, number)} is quantized, and its scale is lost here; litert keeps it"
            raise BackendUnavailableError(msg)


def _settings(device: str, options: LoadOptions) -> dict[str, Any]:
    # Without the hint the library picks bf16 where the processor has it, and answers differ. What is not quantized of
    # int8 weights is computed in f32.
    precision = {"INFERENCE_PRECISION_HINT": "f32" if options.precision == "int8" else options.precision}
    processor = {"INFERENCE_NUM_THREADS": options.threads * options.parallel, "NUM_STREAMS": options.parallel}
    kind = device.partition(":")[0]
    if kind == "CPU":
        return {**precision, **processor}
    if kind == "AUTO":  # it would begin on another device than it goes on with, and change it when that one fails
        precision |= {"ENABLE_STARTUP_FALLBACK": "NO", "ENABLE_RUNTIME_FALLBACK": "NO"}
    if kind in _VIRTUAL:
        return {**precision, "DEVICE_PROPERTIES": {"CPU": processor}}
    return dict(precision)


def _check_precision(compiled: Any, device: str, precision: str) -> str:
    """The devices that really serve. Raises BackendUnavailableError when one computes in another precision."""
    used = ",".join(compiled.get_property("EXECUTION_DEVICES"))
    if device.partition(":")[0] in _VIRTUAL:
        hints = {
            name: properties.get("INFERENCE_PRECISION_HINT")
            for name, properties in compiled.get_property("DEVICE_PROPERTIES").items()
        }
    else:
        hints = {device: compiled.get_property("INFERENCE_PRECISION_HINT")}
    for name, hint in hints.items():
        actual = "unknown" if hint is None else str(hint.get_type_name())
        if actual != precision:
            msg = f"asked for precision {precision}, {name} chose {actual}"
            raise BackendUnavailableError(msg)
    return used


class OpenVinoEngine:
    """A compiled model; sessions of several threads run on its streams side by side."""

    def __init__(self, compiled: Any, inputs: tuple[TensorSpec, ...], device: str) -> None:
        self._compiled = compiled
        self.inputs = inputs
        self.device = device

    @contextmanager
    def open_session(self) -> Iterator["OpenVinoSession"]:
        """An inference request for the calling thread."""
        yield OpenVinoSession(self._compiled)


class OpenVinoSession:
    """One inference request, with output buffers that the next call overwrites."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._openvino = require("openvino", "openvino")
        self._outputs = [(_name(port, number), number) for number, port in enumerate(compiled.outputs)]
        self._bound: Any = None
        self._tensor: Any = None

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once. Raises InferenceError."""
        (value,) = tensors.values()
        try:
            if value is not self._bound:  # the preprocessor reuses one buffer: bind it once, without a copy
                self._tensor = self._openvino.Tensor(value, shared_memory=True)
                self._request.set_input_tensor(self._tensor)
                self._bound = value
            self._request.infer()
            return {name: self._request.get_output_tensor(number).data for name, number in self._outputs}
        except Exception as error:
            msg = f"openvino: {short(error)}"
            raise InferenceError(msg) from error


def _name(port: Any, number: int) -> str:
    """A port's first name in alphabetical order; graphs may leave ports unnamed."""
    return min(port.get_names(), default=f"port{number}")


def _shape(port: Any) -> tuple[int, ...]:
    if port.partial_shape.rank.is_dynamic:
        msg = f"input {_name(port, 0)} has no fixed number of dimensions"
        raise ModelError(msg)
    return tuple(-1 if size.is_dynamic else size.get_length() for size in port.partial_shape)


def _dtype(port: Any) -> str:
    name = str(port.element_type.get_type_name())
    return _DTYPES.get(name, name)
