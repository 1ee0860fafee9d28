"""Proves every runtime of this machine on a bundle's golden data, and says how far each is from the reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_vision.core.errors import BackendError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import usable_files
from edge_vision.inference.trial import load_after_trial
from edge_vision.models.bundle import Bundle
from edge_vision.models.golden import Golden
from edge_vision.models.proof.gate import Verdict, precision_of, prove


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one runtime and one file; without a verdict it did not get as far, and `reason` says why.

    `asked` is the precision that was asked for, `precision` the one whose tolerance counts.
    """

    backend: str
    file: str
    asked: str
    precision: str
    reason: str
    verdict: Verdict | None = None

    @property
    def passed(self) -> bool:
        """Whether it sees what the reference sees."""
        return not self.reason


def verify(
    bundle: Bundle,
    golden: Golden,
    backends: Sequence[str],
    precisions: Sequence[str],
    tell: Callable[[Row], None],
    device: str | None = None,
) -> list[Row]:
    """Prove each runtime with each of its files at each precision; `tell` hears of each row as it comes."""
    rows: list[Row] = []
    for name in backends:
        for precision in precisions:
            for row in _rows(bundle, golden, name, LoadOptions(precision, device=device)):
                tell(row)
                rows.append(row)
    return rows


def _rows(bundle: Bundle, golden: Golden, name: str, options: LoadOptions) -> list[Row]:
    try:
        files = usable_files(name, bundle.spec, options.precision)
    except BackendError as error:
        return [Row(name, "", options.precision, options.precision, str(error))]
    return [judge(bundle, golden, name, file, options) for file in files]


def judge(bundle: Bundle, golden: Golden, name: str, file: ModelFile, options: LoadOptions) -> Row:
    """Prove one runtime with one file, as asked for."""
    path, coarser = bundle.path_of(file), precision_of(file, options.precision)
    try:
        verdict = prove(bundle, golden, file, load_after_trial(name, file, options), options.precision)
    except BackendError as error:
        return Row(name, path, options.precision, coarser, str(error))
    return Row(name, path, options.precision, coarser, verdict.reason, verdict)
