"""What a source is told when it is opened, whatever its kind."""

from collections.abc import Callable
from dataclasses import dataclass

from edge_vision.capture.ring import Ring
from edge_vision.runtime.clock import Clock


def _ignore(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Opening:
    """Whose source it is, the clock, and where its numbering and its media time go on.

    A camera that is opened again continues: frames are numbered from `first_index`, and media time counts from
    `epoch_ns`, the monotonic time at which the unit first started. `on_lost` hears how many frames the source had
    to leave out, each time it does. A source that has encoded packets (`av`) keeps them in `ring`, if it is given one.
    """

    source_id: str
    clock: Clock
    first_index: int = 0
    epoch_ns: int = 0
    on_lost: Callable[[int], None] = _ignore
    ring: Ring | None = None
