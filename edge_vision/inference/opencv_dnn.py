"""OpenCV's own DNN module: the last resort, present wherever cv2 is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import short


class OpenCvDnn:
    """The `opencv_dnn` backend, on the CPU target."""

    formats = ("onnx",)

    def probe(self) -> Availability:
        """Whether cv2 imports, and with the reader for ONNX."""
        try:
            cv2 = require("cv2", "cpu")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        if not hasattr(getattr(cv2, "dnn", None), "readNetFromONNX"):
            reason = "this build of OpenCV has no dnn module with an ONNX reader"
            return Availability(available=False, reason=reason, version=cv2.__version__)
        return Availability(available=True, reason="works", version=cv2.__version__, devices=("CPU",))

    def load(self, file: ModelFile, options: LoadOptions) -> "OpenCvEngine":
        """Read the network, to see that it can be read. Raises BackendUnavailableError."""
        if options.precision not in {"f32", file.precision}:
            msg = f"computes in f32 on the CPU; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        cv2 = require("cv2", "cpu")
        cv2.setNumThreads(options.threads)  # one pool for the whole process
        # OpenCV does not tell a network's inputs before it has run: the bundle's word is taken, and the warm-up
        # run is what finds out.
        inputs = (TensorSpec("input", file.input_shape, file.input_dtype),)
        engine = OpenCvEngine(file, inputs)
        _read(file)
        return engine


class OpenCvEngine:
    """The file of a network: a `cv2.dnn.Net` serves one thread only, so that every session reads its own."""

    device = "CPU"

    def __init__(self, file: ModelFile, inputs: tuple[TensorSpec, ...]) -> None:
        self._file = file
        self.inputs = inputs

    @contextmanager
    def open_session(self) -> Iterator["OpenCvSession"]:
        """A network of the calling thread's own. Raises BackendUnavailableError."""
        yield OpenCvSession(_read(self._file))


class OpenCvSession:
    """One thread's network."""

    def __init__(self, net: Any) -> None:
        self._net = net
        self._names = tuple(net.getUnconnectedOutLayersNames())

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once. Raises InferenceError."""
        cv2 = require("cv2", "cpu")
        (value,) = tensors.values()
        try:
            self._net.setInput(value)
            return dict(zip(self._names, self._net.forward(self._names), strict=True))
        except cv2.error as error:
            msg = f"opencv_dnn: {short(error)}"
            raise InferenceError(msg) from error


def _read(file: ModelFile) -> Any:
    cv2 = require("cv2", "cpu")
    try:
        net = cv2.dnn.readNetFromONNX(str(file.path))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        net.enableWinograd(False)  # its rounding moves scores in the third digit
    except cv2.error as error:
        msg = f"cannot read {file.path}: {short(error)}"
        raise BackendUnavailableError(msg) from error
    return net
