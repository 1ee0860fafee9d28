"""OpenVINO on Intel (and other x86) processors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_input, short

_DTYPES: Final = {"f32": "float32", "f16": "float16", "u8": "uint8"}


class OpenVino:
    """The `openvino` backend, on the CPU device."""

    formats = ("openvino", "onnx")

    def probe(self) -> Availability:
        """Whether the library imports and sees a CPU; lists the devices it sees."""
        try:
            openvino = _library()
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        try:
            devices = tuple(openvino.Core().available_devices)
        except Exception as error:  # noqa: BLE001 - a plugin that fails to start raises anything
            return Availability(available=False, reason=short(error), version=openvino.__version__)
        if "CPU" not in devices:
            reason = f"sees no CPU device, only {', '.join(devices) or 'none'}"
            return Availability(available=False, reason=reason, version=openvino.__version__)
        return Availability(available=True, reason="works", version=openvino.__version__, devices=devices)

    def load(self, file: ModelFile, options: LoadOptions) -> "OpenVinoEngine":
        """Read and compile the model. Raises BackendUnavailableError, with the library's own sentence."""
        openvino = _library()
        core = openvino.Core()
        try:
            network = core.read_model(str(file.path))
        except Exception as error:
            msg = f"cannot read {file.path}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        inputs = tuple(
            TensorSpec(_name(port, number), _shape(port), _dtype(port)) for number, port in enumerate(network.inputs)
        )
        check_input(inputs, file)
        precision = "f32" if options.precision == "int8" else options.precision  # what is not quantized, then
        try:
            if network.is_dynamic():
                network.reshape(list(file.input_shape))
            compiled = core.compile_model(
                network,
                "CPU",
                {
                    # Without it the library picks bf16 where the processor has it, and answers differ.
                    "INFERENCE_PRECISION_HINT": precision,
                    "INFERENCE_NUM_THREADS": options.threads * options.parallel,
                    "NUM_STREAMS": options.parallel,
                },
            )
        except Exception as error:
            msg = f"cannot compile {file.path}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        actual = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        if actual != precision:
            msg = f"asked for precision {precision}, the CPU plugin chose {actual}"
            raise BackendUnavailableError(msg)
        return OpenVinoEngine(compiled, inputs)


class OpenVinoEngine:
    """A compiled model; sessions of several threads run on its streams side by side."""

    device = "CPU"

    def __init__(self, compiled: Any, inputs: tuple[TensorSpec, ...]) -> None:
        self._compiled = compiled
        self.inputs = inputs

    @contextmanager
    def open_session(self) -> Iterator["OpenVinoSession"]:
        """An inference request for the calling thread."""
        yield OpenVinoSession(self._compiled)


class OpenVinoSession:
    """One inference request, with output buffers that the next call overwrites."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._openvino = _library()
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


def _library() -> Any:
    """The openvino package, without the module that reports each import to its maker (docs/adr/007)."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return require("openvino", "openvino")


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
