"""Finds TensorRT, whichever of its releases is installed, and hears what it has to say."""

import functools
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from edge_vision.core.errors import MissingLibraryError
from edge_vision.core.plugin import require
from edge_vision.inference.shapes import short
from edge_vision.inference.tensorrt.cuda import Gpu

_log = logging.getLogger(__name__)

_RTX: Final = "tensorrt_rtx"
_TURING: Final = (7, 5)
_MOST_ERRORS: Final = 32


class Errors:
    """The latest errors of the library, as its logger hears them, from any of its threads."""

    def __init__(self) -> None:
        self._warning = ""
        self._latest: deque[str] = deque(maxlen=_MOST_ERRORS)
        self._one_at_a_time = threading.RLock()

    def add(self, text: str) -> None:
        """Remember an error."""
        self._latest.append(text)

    def warn(self, text: str) -> None:
        """Remember a warning: TensorRT 8.6 has no more to say of a GPU it cannot use."""
        self._warning = text

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Forget older errors; one thread listens at a time, since the library has one logger per process."""
        with self._one_at_a_time:
            self._latest.clear()
            self._warning = ""
            yield

    def __str__(self) -> str:
        return short(Exception("; ".join(dict.fromkeys(self._latest)) or self._warning or "it gives no reason"))


@dataclass(frozen=True, slots=True)
class Library:
    """An installed TensorRT: its module, the logger it must be given, and the errors that logger heard."""

    module: Any
    name: str
    logger: Any
    errors: Errors

    @property
    def version(self) -> str:
        """The library's version."""
        return str(self.module.__version__)

    @property
    def runtime(self) -> str:
        """The library and its version, as in "tensorrt 10.3.0": each reads its own engines only."""
        return f"{self.name} {self.version}"

    @property
    def portable(self) -> bool:
        """Whether one engine serves many GPUs, and can be built without any: TensorRT-RTX finishes it on the GPU."""
        return self.name == _RTX

    def device_of(self, gpu: Gpu | None) -> tuple[str, str]:
        """The device and the driver an engine is built for. TensorRT-RTX can do without a GPU, TensorRT cannot."""
        if not self.portable:
            assert gpu is not None
            return str(gpu), gpu.driver
        capability = "7.5" if gpu is not None and gpu.capability == _TURING else "8.0 and later"
        return f"any GPU of compute capability {capability}", "any"


def find_library() -> Library:
    """TensorRT as JetPack and the server packages bring it, else TensorRT-RTX. Raises MissingLibraryError.

    Importing it is safe on every machine; making a `Runtime` where there is no driver ends the process.
    """
    reasons: list[str] = []
    for name in ("tensorrt", _RTX):
        try:
            module = require(name, "tensorrt")
        except MissingLibraryError as error:
            reasons.append(str(error))
        else:
            if hasattr(module, "Runtime"):
                return Library(module, name, *_listener(module))
            reasons.append(f"{name} is installed without its libraries")
    raise MissingLibraryError(next((text for text in reasons if "is not installed" not in text), reasons[0]))


@functools.cache
def _listener(trt: Any) -> tuple[Any, Errors]:
    """The one logger of this process: the library keeps the first it is given and complains about others."""
    errors = Errors()
    severity = trt.ILogger.Severity

    class Listener(trt.ILogger):  # type: ignore[misc]  # the library is not typed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:
            if level in {severity.ERROR, severity.INTERNAL_ERROR}:
                errors.add(text)
            elif level == severity.WARNING:
                errors.warn(text)
            if level != severity.VERBOSE:
                _log.debug("tensorrt: %s", text)

    return Listener(), errors
