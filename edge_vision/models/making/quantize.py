"""Makes an int8 file of a model, proves it, and measures what it gains and what it costs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge_vision.core.errors import BackendError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load
from edge_vision.inference.trial import load_after_trial
from edge_vision.models.bundle import Bundle
from edge_vision.models.making.calibration import Calibration
from edge_vision.models.making.derive import (
    Made,
    Staged,
    golden_of,
    prove_new,
    readers_of,
    refuse_double,
    source_of,
    stage,
    workshop,
)
from edge_vision.models.making.scope import SCOPES, Scope
from edge_vision.models.proof.bench import Entrant, Pace, frames_of, race
from edge_vision.models.proof.evaluate import Exam, average_precision
from edge_vision.models.proof.truth import Precision
from edge_vision.models.proof.verify import Row

QUANTIZERS: Final = {
    "nncf": "edge_vision.models.making.quantize_nncf:NncfQuantizer",
    "onnxruntime": "edge_vision.models.making.quantize_onnx:OnnxQuantizer",
}
"""What quantizes, the better first."""
_SECONDS: Final = 3.0
"""How long int8 is timed beside f32."""


class Quantizer(Protocol):
    """A tool that quantizes: the formats it `reads`, the runtime it is made for, and what it writes."""

    reads: tuple[str, ...]
    backend: str
    format: str
    suffix: str
    maker: str

    def quantize(self, source: ModelFile, scope: Scope, calibration: Calibration, target: Path) -> None:
        """Write a quantized network to `target`. Raises ModelError when the tool cannot do it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of quantizing so much: the gate's verdicts, that of the runtime it is made for first.

    `size` is that of the new file and of what belongs to it, in bytes; `accuracy` its average precision, when labeled
    pictures were given. Without verdicts the tool itself failed, and `failure` says how.
    """

    scope: str
    size: int = 0
    rows: tuple[Row, ...] = ()
    accuracy: Precision | None = None
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether the gate lets it serve."""
        return bool(self.rows) and self.rows[0].passed


@dataclass(frozen=True, slots=True)
class Quantized:
    """The whole story: where the figures of the source come from, every attempt, and the speed of the one that passed.

    `paces` holds the pace in f32 and in int8, measured in turns on one runtime.
    """

    source: str
    name: str
    maker: str
    backend: str
    source_size: int
    accuracy: Precision | None
    attempts: tuple[Attempt, ...]
    paces: tuple[Pace, Pace] | None

    @property
    def passed(self) -> bool:
        """Whether a bundle was written."""
        return self.paces is not None


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: the tool, the pictures that calibrate, what to measure on, and where it goes."""

    tool: str
    pictures: tuple[Path, ...]
    exam: Exam | None
    target: Path
    scopes: tuple[Scope, ...] = SCOPES


def quantize(bundle: Bundle, order: Order, tell: Callable[[Attempt], None]) -> Quantized:
    """Quantize less and less of the network until the gate accepts it; `tell` hears of each attempt.

    The new bundle holds all of the old one and the int8 file. When no attempt passes nothing is written. Raises
    ConfigError for what cannot be done, MissingLibraryError without the tool, and BackendError when the source
    itself cannot be run.
    """
    golden_of(bundle)
    tool: Quantizer = resolve(QUANTIZERS[order.tool])()
    source = source_of(bundle, tool.reads, order.tool)
    name = Path(bundle.path_of(source)).with_name(f"{source.path.stem}_int8{tool.suffix}").as_posix()
    refuse_double(bundle, name)
    with workshop(order.target, bundle) as folder:
        plain = Entrant(tool.backend, source, load_after_trial(tool.backend, source, LoadOptions()))
        accuracy = None if order.exam is None else average_precision(bundle, order.exam, source, plain.engine)
        attempts: list[Attempt] = []
        paces: tuple[Pace, Pace] | None = None
        for number, scope in enumerate(order.scopes):
            attempt, staged = _attempt(bundle, tool, source, name, scope, order, folder / str(number))
            attempts.append(attempt)
            tell(attempt)
            if staged is not None and attempt.passed:
                paces = _paces(staged, plain, bundle.path_of(source))
                staged.put(order.target)
                break
    return Quantized(
        bundle.path_of(source), name, tool.maker, tool.backend, _size(source.path), accuracy, tuple(attempts), paces
    )


def _attempt(
    bundle: Bundle, tool: Quantizer, source: ModelFile, name: str, scope: Scope, order: Order, folder: Path
) -> tuple[Attempt, Staged | None]:
    calibration = Calibration(bundle.ends_of(source).input, order.pictures)
    folder.mkdir()
    target = folder / Path(name).name
    try:
        tool.quantize(source, scope, calibration, target)
    except BackendError as error:
        return Attempt(scope.text, failure=str(error)), None
    maker = f"{tool.maker}: {scope.text}, {len(calibration)} pictures"
    made = Made(source, name, tool.format, "int8", maker, _parts(target))
    staged = stage(bundle, made, folder)
    others = [name for name in readers_of(staged, "int8") if name != tool.backend]
    rows = prove_new(staged, [tool.backend, *others], "int8")
    accuracy = None if order.exam is None else _accuracy(staged, tool.backend, order.exam)
    return Attempt(scope.text, _size(target), rows, accuracy), staged


def _accuracy(staged: Staged, backend: str, exam: Exam) -> Precision | None:
    try:
        engine = load(backend, staged.file, LoadOptions("int8"))
        return average_precision(staged.bundle, exam, staged.file, engine)
    except BackendError:  # the gate's row says why
        return None


def _paces(staged: Staged, plain: Entrant, path: str) -> tuple[Pace, Pace]:
    """The pace of the source and of the int8 file, taken in turns."""
    engine = load(plain.backend, staged.file, LoadOptions("int8"))
    before = next(file for file in staged.bundle.spec.files if staged.bundle.path_of(file) == path)
    entrants = [Entrant(plain.backend, before, plain.engine), Entrant(plain.backend, staged.file, engine)]
    first, second = race(staged.bundle, entrants, frames_of(staged.bundle), _SECONDS)
    return first, second


def _parts(path: Path) -> tuple[Path, ...]:
    """A file and what belongs to it: the weights of OpenVINO's format lie beside the graph."""
    weights = path.with_suffix(".bin")
    return (path, weights) if path.suffix == ".xml" and weights.exists() else (path,)


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in _parts(path))
