"""TorchScript files on PyTorch, where it is installed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edge_vision.core.errors import BackendUnavailableError, InferenceError, MissingLibraryError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Availability, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.shapes import check_device, short


class TorchScript:
    """The `torchscript` backend, on the CPU or with CUDA."""

    formats = ("torchscript",)

    def probe(self) -> Availability:
        """Whether the library imports, and whether it sees a CUDA device."""
        try:
            torch = require("torch", "torch")
        except MissingLibraryError as error:
            return Availability(available=False, reason=str(error))
        return Availability(available=True, reason="works", version=torch.__version__, devices=_devices(torch))

    def load(self, file: ModelFile, options: LoadOptions) -> "TorchEngine":
        """Load the module onto its device. Raises BackendUnavailableError, with the library's own sentence."""
        torch = require("torch", "torch")
        devices = _devices(torch)
        device = check_device(options.device, devices) or devices[-1]
        if options.precision not in {"f32", file.precision}:
            msg = f"computes in the precision of the file; {options.precision} is not to be had"
            raise BackendUnavailableError(msg)
        torch.set_num_threads(options.threads)  # one pool for the whole process
        torch.backends.cudnn.allow_tf32 = False  # else f32 convolutions are rounded to ten bits
        try:
            module = torch.jit.load(str(file.path), map_location=device.lower()).eval()
        except Exception as error:
            msg = f"cannot load {file.path}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        # A script does not tell the shape of its inputs: the bundle's word is taken, and the warm-up run finds out.
        return TorchEngine(module, device, (TensorSpec("input", file.input_shape, file.input_dtype),))


class TorchEngine:
    """A loaded module; it may be called from many threads at once."""

    def __init__(self, module: Any, device: str, inputs: tuple[TensorSpec, ...]) -> None:
        self._module = module
        self.device = device
        self.inputs = inputs

    @contextmanager
    def open_session(self) -> Iterator["TorchSession"]:
        """A handle for the calling thread; the weights are shared."""
        yield TorchSession(self._module, self.device)


class TorchSession:
    """One thread's handle."""

    def __init__(self, module: Any, device: str) -> None:
        self._torch = require("torch", "torch")
        self._module = module
        self._device = device.lower()

    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network once; outputs without a name are output0, output1 ... Raises InferenceError."""
        (value,) = tensors.values()
        try:
            with self._torch.inference_mode():
                given = self._torch.from_numpy(value).to(self._device)
                return {name: tensor.cpu().numpy() for name, tensor in _named(self._module(given))}
        except Exception as error:
            msg = f"torchscript: {short(error)}"
            raise InferenceError(msg) from error


def _devices(torch: Any) -> tuple[str, ...]:
    """The CPU, and CUDA behind it where there is a device for it."""
    return ("CPU", "CUDA") if torch.cuda.is_available() else ("CPU",)


def _named(outputs: Any, name: str = "output") -> Iterator[tuple[str, Any]]:
    """The tensors of whatever a module returns: one, a tuple or list of them, or a dictionary."""
    if isinstance(outputs, Mapping):
        for key, value in outputs.items():
            yield from _named(value, str(key))
    elif isinstance(outputs, Sequence):
        for number, value in enumerate(outputs):
            yield from _named(value, f"{name}{number}")
    else:
        yield name, outputs
