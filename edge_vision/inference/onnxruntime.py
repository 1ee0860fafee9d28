"""ONNX Runtime on the CPU: runs anywhere, and is the reference for every other runtime."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_input, short

_PROVIDER: Final = "CPUExecutionProvider"
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
        providers = tuple(runtime.get_available_providers())
        if _PROVIDER not in providers:
            reason = f"this build has no {_PROVIDER}: {', '.join(providers)}"
            return Availability(available=False, reason=reason, version=runtime.__version__)
        return Availability(available=True, reason="works", version=runtime.__version__, devices=("CPU",))

    def load(self, file: ModelFile, options: LoadOptions) -> "OnnxEngine":
        """Create the inference session. Raises BackendUnavailableError with the library's own sentence."""
        if options.precision not in {"f32", file.precision}:
            msg = f"computes in the precision of the file on the CPU; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        runtime = require("onnxruntime", "cpu")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        # Threads that spin while they wait steal the time of the other threads of this process.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = runtime.InferenceSession(str(file.path), settings, providers=[_PROVIDER])
        except Exception as error:
            msg = f"cannot load {file.path}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        active = session.get_providers()[0]
        if active != _PROVIDER:
            msg = f"asked for {_PROVIDER}, got {active}"
            raise BackendUnavailableError(msg)
        inputs = tuple(
            TensorSpec(
                node.name,
                tuple(size if isinstance(size, int) else -1 for size in node.shape),
                _DTYPES.get(node.type, node.type),
            )
            for node in session.get_inputs()
        )
        check_input(inputs, file)
        return OnnxEngine(session, inputs)


class OnnxEngine:
    """A loaded ONNX model; `run` may be called from many threads at once."""

    device = "CPU"

    def __init__(self, session: Any, inputs: tuple[TensorSpec, ...]) -> None:
        self._session = session
        self.inputs = inputs

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
