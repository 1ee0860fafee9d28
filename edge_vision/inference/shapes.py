"""Checks what every runtime checks: the device asked for, and that a network takes what the bundle says it takes."""

from collections.abc import Sequence

from edge_vision.core.errors import BackendUnavailableError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.tensor import TensorSpec

_LONGEST = 300


def check_input(inputs: tuple[TensorSpec, ...], file: ModelFile) -> None:
    """Raise ModelError unless the network has one input, of the bundle's shape and type; -1 takes any size."""
    if len(inputs) != 1:
        msg = f"{file.path}: has {len(inputs)} inputs ({'; '.join(map(str, inputs))}); one picture is supported"
        raise ModelError(msg)
    (spec,) = inputs
    fits = len(spec.shape) == len(file.input_shape) and all(
        have in (-1, want) for have, want in zip(spec.shape, file.input_shape, strict=True)
    )
    if not fits or spec.dtype != file.input_dtype:
        wanted = f"{list(file.input_shape)} {file.input_dtype}"
        msg = f"{file.path}: its input is {spec}, model.yaml says {wanted} (size, color, layout, dtype)"
        raise ModelError(msg)


def check_device(asked: str | None, devices: Sequence[str]) -> str | None:
    """The device asked for, in the runtime's spelling; None when none was. Raises BackendUnavailableError."""
    if asked is None:
        return None
    found = next((device for device in devices if device.upper() == asked.upper()), None)
    if found is None:
        msg = f"has no device {asked} here; it has {', '.join(devices)}"
        raise BackendUnavailableError(msg)
    return found


def short(error: BaseException) -> str:
    """A library's error in one line: its first sentence with something in it, cut at 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from ")]  # OpenVINO's way through its own sources
    text = " ".join(told or lines) or type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
