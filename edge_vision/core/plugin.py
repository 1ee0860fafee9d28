"""How tables of names lead to code: a row is "module:attribute", imported only when used."""

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from edge_vision.core.errors import MissingLibraryError


def resolve(row: str) -> Any:
    """The object a table row names, such as "edge_vision.capture.opencv:open_file"."""
    module, _, attribute = row.partition(":")
    return getattr(importlib.import_module(module), attribute)


def is_installed(module: str) -> bool:
    """Whether an optional library is there, without importing it; whether it works shows when it is."""
    return importlib.util.find_spec(module) is not None


def _keep_quiet() -> None:
    """Before any library is imported: none reports to its maker from this process (docs/adr/007), or fills the log."""
    # OpenVINO's Python package; without this module it takes the stub that it ships.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # ONNX Runtime 1.31 on Linux sends events and keeps a device id unless told otherwise (onnxruntime#27379);
    # the second name is the one of onnxruntime#29843.
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    # gRPC writes every handshake that fails to standard error, again with each attempt; the caller hears of it anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library; raises MissingLibraryError that names the extra which brings it."""
    _keep_quiet()
    try:
        return importlib.import_module(module)
    except Exception as error:
        top = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == top:
            reason = f"{top} is not installed: pip install 'edge-vision[{extra}]'"
        else:  # broken: a wheel that lacks a system library, or was built for another NumPy
            reason = f"{top} is installed but cannot be imported: {type(error).__name__}: {error}"
        raise MissingLibraryError(reason) from error
