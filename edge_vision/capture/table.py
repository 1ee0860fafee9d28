"""Which code opens which kind of source: the whole list."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SourceOptions
from edge_vision.core.plugin import is_installed, require, resolve
from edge_vision.core.protocols import Source


@dataclass(frozen=True, slots=True)
class Row:
    """How a kind of source is opened, whether again after it failed, and the library it needs with the extra for it."""

    opener: str
    reopens: bool
    needs: tuple[str, str] = ("cv2", "cpu")


SOURCES: Final = {
    "rtsp": Row("edge_vision.capture.opencv:open_network", reopens=True),
    "http": Row("edge_vision.capture.opencv:open_network", reopens=True),
    "v4l2": Row("edge_vision.capture.opencv:open_v4l2", reopens=True),
    "file": Row("edge_vision.capture.opencv:open_file", reopens=False),
    "images": Row("edge_vision.capture.images:open_images", reopens=False),
    "synthetic": Row("edge_vision.capture.synthetic:open_synthetic", reopens=False),
    "av": Row("edge_vision.capture.av.source:open_av", reopens=True, needs=("av", "av")),  # a recording: not again
}


def require_library(options: SourceOptions) -> None:
    """Raises MissingLibraryError when the library of this kind of source is not there: no camera brings it."""
    require(*SOURCES[options.kind].needs)


def lacking(options: SourceOptions) -> str:
    """What is missing on this machine to open this kind of source, and what brings it; nothing where it is there."""
    module, extra = SOURCES[options.kind].needs
    return "" if is_installed(module) else f"{module} is not installed: pip install 'edge-vision[{extra}]'"


def reopens(options: SourceOptions) -> bool:
    """Whether this source is opened again after it failed: a recording would fail again, or begin from its start."""
    return SOURCES[options.kind].reopens and getattr(options, "path", None) is None


def open_source(options: SourceOptions, opening: Opening) -> AbstractContextManager[Source]:
    """Open a source of any kind. Raises SourceError, SourceTimeoutError or MissingLibraryError on entering."""
    opener = resolve(SOURCES[options.kind].opener)
    source: AbstractContextManager[Source] = opener(options, opening)
    return source


def silence_limit_s(options: SourceOptions) -> float:
    """The longest a healthy source of this kind may go without a sign of life, in seconds.

    Twice its own time-outs and a little more: past that the library has not kept them (opencv#22677).
    """
    timeouts = (getattr(options, "open_timeout_s", 5.0), getattr(options, "read_timeout_s", 5.0))
    return 2.0 * max(timeouts) + 5.0
