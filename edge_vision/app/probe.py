"""What this machine is, and which runtimes, devices and sources work on it; with the reason why others do not."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from edge_vision import __version__
from edge_vision.core.errors import MissingLibraryError
from edge_vision.core.plugin import require
from edge_vision.inference.table import BACKENDS, backend


def probe_machine() -> dict[str, Any]:
    """Facts as plain data: machine, backends, opencv, pyav, cameras."""
    return {
        "edge_vision": __version__,
        "machine": _machine(),
        "backends": [_backend(name) for name in BACKENDS],
        "opencv": _opencv(),
        "pyav": _pyav(),
        "cameras": sorted(str(device) for device in Path("/dev").glob("video*")),
    }


def _machine() -> dict[str, Any]:
    return {
        "system": _first(r'^PRETTY_NAME="?([^"\n]*)', "/etc/os-release") or platform.system(),
        "board": _read("/proc/device-tree/model").strip("\0\n "),
        "processor": _first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(_first(r"^MemTotal:\s*(\d+)", "/proc/meminfo") or 0) // 1024,
        "python": platform.python_version(),
        "nvidia_driver": _first(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", "/proc/driver/nvidia/version"),
        "render_devices": sorted(str(device) for device in Path("/dev/dri").glob("render*")),
    }


def _backend(name: str) -> dict[str, Any]:
    candidate = backend(name)
    availability = candidate.probe()
    return {
        "name": name,
        "available": availability.available,
        "reason": availability.reason,
        "version": availability.version,
        "devices": list(availability.devices),
        "formats": [name for name in candidate.formats if name not in dict(availability.lacks)],
    }


def _opencv() -> dict[str, Any]:
    """What cv2 can read from: which of its video back ends are built in."""
    try:
        cv2: Any = require("cv2", "cpu")
    except MissingLibraryError as error:
        return {"available": False, "reason": str(error)}
    registry = cv2.videoio_registry  # lists plug-ins that are not there, too
    readers = sorted({registry.getBackendName(api) for api in registry.getBackends() if registry.hasBackend(api)})
    return {"available": True, "version": cv2.__version__, "file": cv2.__file__, "video": readers}


def _pyav() -> dict[str, Any]:
    """What sources of kind `av` run on."""
    try:
        av: Any = require("av", "av")
    except MissingLibraryError as error:
        return {"available": False, "reason": str(error)}
    libraries = {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
    return {"available": True, "version": av.__version__, "file": av.__file__, "libraries": libraries}


def _first(pattern: str, file: str) -> str:
    found = re.search(pattern, _read(file), re.MULTILINE)
    return found.group(1).strip() if found else ""


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
