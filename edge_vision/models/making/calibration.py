"""Pictures that show a quantizer what values a network's layers take, through the real preprocessing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.models.proof.record import find_pictures, read_picture
from edge_vision.preprocess.options import InputOptions
from edge_vision.preprocess.window import preprocessor_of


@dataclass(frozen=True, slots=True)
class Calibration:
    """Pictures, and how they become a network's input; may be gone through again and again."""

    options: InputOptions
    pictures: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The input tensor of each picture, an array of its own. Raises ConfigError for what is no picture."""
        preprocess = preprocessor_of(self.options, "input")
        for picture in self.pictures:
            yield preprocess(read_picture(picture)).tensors["input"].copy()


def pick_pictures(folders: tuple[Path, ...], most: int) -> tuple[Path, ...]:
    """At most `most` pictures of all folders, spread evenly. Raises ConfigError for a folder without pictures."""
    every = [picture for folder in folders for picture in find_pictures(folder)]
    places = np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int)
    return tuple(every[place] for place in places)
