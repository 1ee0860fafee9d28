"""How tables of names lead to code: a row is "module:attribute", imported only when used."""

import importlib
from types import ModuleType
from typing import Any

from edge_vision.core.errors import MissingLibraryError


def resolve(row: str) -> Any:
    """The object a table row names, such as "edge_vision.capture.opencv:open_file"."""
    module, _, attribute = row.partition(":")
    return getattr(importlib.import_module(module), attribute)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library; raises MissingLibraryError that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        top = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == top:
            reason = f"{top} is not installed: pip install 'edge-vision[{extra}]'"
        else:  # broken: a wheel that lacks a system library, or was built for another NumPy
            reason = f"{top} is installed but cannot be imported: {type(error).__name__}: {error}"
        raise MissingLibraryError(reason) from error
