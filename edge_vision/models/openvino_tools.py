"""Imports OpenVINO's tools without what would report to their maker (docs/adr/007)."""

import sys
from typing import Any

from edge_vision.core.plugin import require


def openvino_tools(module: str, extra: str) -> Any:
    """One of OpenVINO's packages; raises MissingLibraryError that names the extra which brings it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return require(module, extra)
