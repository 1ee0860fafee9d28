"""OpenCV's own DNN module: the last resort, present wherever cv2 is, and the reader of old formats."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_device, short

_READERS: Final = {
    "onnx": "readNetFromONNX",
    "tensorflow": "readNetFromTensorflow",
    "tflite": "readNetFromTFLite",
    "caffe": "readNetFromCaffe",
    "darknet": "readNetFromDarknet",
    "torch7": "readNetFromTorch",
}
"""The function that reads a format; those of OpenCV 4 are not all in 5."""
_DEVICES: Final = {
    "CPU": ("DNN_BACKEND_OPENCV", {"f32": "DNN_TARGET_CPU"}),
    "OPENCL": ("DNN_BACKEND_OPENCV", {"f32": "DNN_TARGET_OPENCL", "f16": "DNN_TARGET_OPENCL_FP16"}),
    "CUDA": ("DNN_BACKEND_CUDA", {"f32": "DNN_TARGET_CUDA", "f16": "DNN_TARGET_CUDA_FP16"}),
    "VULKAN": ("DNN_BACKEND_VKCOM", {"f32": "DNN_TARGET_VULKAN"}),
    "OPENVINO": ("DNN_BACKEND_INFERENCE_ENGINE", {"f32": "DNN_TARGET_CPU"}),
}
"""The backend of each device, and its target for each precision."""
_CHANNELS: Final = (1, 3)
_AXES_OF_A_CLIP: Final = 5
NO_CLIPS: Final = "does not run networks that look at clips"
"""How a refusal begins that is of the input's axes, whatever the nodes are."""


class OpenCvDnn:
    """The `opencv_dnn` backend, on the CPU unless another of its targets is asked for."""

    formats = tuple(_READERS)

    def probe(self) -> Availability:
        """Whether cv2 imports, and with a reader for any format; which formats this build lacks."""
        try:
            cv2 = require("cv2", "cpu")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        version = str(cv2.__version__)
        module = getattr(cv2, "dnn", None)
        lacks = tuple(
            (name, f"OpenCV {version} has no {name} reader{_remedy(version)}")
            for name, reader in _READERS.items()
            if not hasattr(module, reader)
        )
        if len(lacks) == len(_READERS):
            reason = "this build of OpenCV has no dnn module with a reader"
            return Availability(available=False, reason=reason, version=version)
        return Availability(available=True, reason="works", version=version, devices=_devices(cv2), lacks=lacks)

    def load(self, file: ModelFile, options: LoadOptions) -> "OpenCvEngine":
        """Read the network, to see that it can be read. Raises BackendUnavailableError."""
        cv2 = require("cv2", "cpu")
        if len(file.input_shape) == _AXES_OF_A_CLIP:
            # Of the ways to pool over time it refuses one and computes another wrongly, without an error.
            msg = (
                f"{NO_CLIPS} (input {list(file.input_shape)}): OpenCV {cv2.__version__} "
                "refuses GlobalAveragePool over time, and computes ReduceMean over three axes wrongly"
            )
            raise BackendUnavailableError(msg)
        device = check_device(options.device, _devices(cv2)) or "CPU"
        targets = _DEVICES[device][1]
        precision = options.precision if options.precision in targets else "f32"
        if options.precision not in {precision, file.precision}:
            msg = f"computes in {' or '.join(targets)} on {device}; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        cv2.setNumThreads(options.threads)  # one pool for the whole process
        # OpenCV does not tell a network's inputs before it has run: the bundle's word is taken, and the warm-up
        # run is what finds out.
        engine = OpenCvEngine(file, device, precision)
        net = _read(file, device, precision)
        if device != "CPU":
            _check_target(net, engine, precision)
        return engine


class OpenCvEngine:
    """The file of a network: a `cv2.dnn.Net` serves one thread only, so that every session reads its own."""

    def __init__(self, file: ModelFile, device: str, precision: str) -> None:
        self._file = file
        self._precision = precision
        self.device = device
        self.inputs = (TensorSpec("input", file.input_shape, file.input_dtype),)
        # OpenCV reads the input of these with its channels first, whatever the file says.
        self.planar = file.format in {"tensorflow", "tflite"} and file.input_shape[-1] in _CHANNELS

    @contextmanager
    def open_session(self) -> Iterator["OpenCvSession"]:
        """A network of the calling thread's own. Raises BackendUnavailableError."""
        yield OpenCvSession(_read(self._file, self.device, self._precision), planar=self.planar)


class OpenCvSession:
    """One thread's network; with `planar`, an input of (1, h, w, c) is handed over as (1, c, h, w)."""

    def __init__(self, net: Any, *, planar: bool) -> None:
        self._net = net
        self._planar = planar
        self._names = tuple(net.getUnconnectedOutLayersNames())

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once. Raises InferenceError."""
        cv2 = require("cv2", "cpu")
        (value,) = tensors.values()
        try:
            self._net.setInput(_planes(value) if self._planar else value)
            return dict(zip(self._names, self._net.forward(self._names), strict=True))
        except cv2.error as error:
            msg = f"opencv_dnn: {short(error)}"
            raise InferenceError(msg) from error


def _devices(cv2: Any) -> tuple[str, ...]:
    """The devices whose target this build of OpenCV finds on this machine."""
    found = []
    for device, (backend, targets) in _DEVICES.items():
        available = cv2.dnn.getAvailableTargets(getattr(cv2.dnn, backend, -1)) if hasattr(cv2.dnn, backend) else ()
        if getattr(cv2.dnn, targets["f32"], None) in {int(target) for target in available}:
            found.append(device)
    return tuple(found)


def _check_target(net: Any, engine: "OpenCvEngine", precision: str) -> None:
    """Raise BackendUnavailableError when OpenCV computes elsewhere: it only writes a line when it switches.

    Where each layer runs is in the picture of the graph that it can draw, once the network has run.
    """
    (spec,) = engine.inputs
    OpenCvSession(net, planar=engine.planar).infer({spec.name: np.zeros(spec.shape, spec.dtype)})
    places = set(re.findall(r"\\l(\w+/\w+)", net.dump())) - {"OCV/CPU"}
    if not places:
        msg = f"asked for {engine.device}, OpenCV went on with the CPU"
        raise BackendUnavailableError(msg)
    if engine.device == "OPENCL" and precision == "f16" and "OCV/OCL_FP16" not in places:
        msg = f"asked for precision f16 on OPENCL, OpenCV chose f32 ({', '.join(sorted(places))})"
        raise BackendUnavailableError(msg)


def _remedy(version: str) -> str:
    return "; OpenCV 4 has one" if int(version.partition(".")[0]) > 4 else ""  # noqa: PLR2004 - OpenCV 5 dropped them


def _planes(value: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2))


def _read(file: ModelFile, device: str, precision: str) -> Any:
    cv2 = require("cv2", "cpu")
    reader = getattr(cv2.dnn, _READERS[file.format], None)
    if reader is None:
        msg = f"OpenCV {cv2.__version__} has no {file.format} reader{_remedy(cv2.__version__)}"
        raise BackendUnavailableError(msg)
    backend, targets = _DEVICES[device]
    try:
        net = reader(str(file.path), *([] if file.weights is None else [str(file.weights)]))
        if net.empty():  # an empty Caffe file passes for a network
            msg = f"cannot read {file.path}: it holds no network"
            raise BackendUnavailableError(msg)
        net.setPreferableBackend(getattr(cv2.dnn, backend))
        net.setPreferableTarget(getattr(cv2.dnn, targets[precision]))
        net.enableWinograd(False)  # its rounding moves scores in the third digit
    except cv2.error as error:
        msg = f"cannot read {file.path}: {short(error)}"
        raise BackendUnavailableError(msg) from error
    return net
