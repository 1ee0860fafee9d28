"""What a stage is told when it is built."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.protocols import Network
from edge_vision.core.stages import Fact


@dataclass(frozen=True, slots=True)
class StageContext:
    """The classes of the detections that come in, by `class_id`, and the stage's network where it has a model.

    `gives` is what that model finds out.

    A stage that finds objects of its own numbers their classes from `len(labels)` on.
    """

    labels: tuple[str, ...] = ()
    network: Network | None = None
    gives: frozenset[Fact] = frozenset()

    def chosen(self, classes: tuple[str, ...] | None) -> NDArray[np.bool_]:
        """Whether each class is among those chosen, by `class_id`; all are when none are named."""
        return np.array([classes is None or label in classes for label in self.labels], bool)
