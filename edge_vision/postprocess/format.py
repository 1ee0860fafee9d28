"""What every output format has: the base of its section in `model.yaml`, and the thresholds."""

from typing import Any

from pydantic import Field

from edge_vision.core.options import Fraction, Integer, Options
from edge_vision.core.stages import Fact


class Thresholds(Options):
    """What counts as seen."""

    confidence: Fraction = Field(0.3, description="Objects below this score are left out.")
    iou: Fraction = Field(0.45, description="Of two objects of a class that overlap more than this, one stays.")
    max_detections: Integer = Field(300, ge=1, le=10_000, description="At most so many objects per frame, the best.")


class OutputFormat(Options):
    """The `output:` section of a model; every format has a class of its own beside its decoder."""

    @property
    def gives(self) -> frozenset[Fact]:
        """What the decoder finds out about each object."""
        return frozenset({"box", "class"})

    def misfit(self, labels: int) -> str:
        """Why so many labels do not go with what is written here; empty when they do."""
        del labels
        return ""

    @property
    def uncut(self) -> dict[str, Any]:
        """What changes where two runtimes are compared: a rounding error could move a cut that is the format's own."""
        return {}


class SingleOutput(OutputFormat):
    """A format that reads one output."""

    output: str | None = Field(None, description="Name of the output to read; needed when there are several.")
