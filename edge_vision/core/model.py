"""What a model bundle tells the steps about its model."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of weights: its format decides which runtimes can read it, its precision what answers to expect of it.

    `input_shape` is what preprocessing produces, (1, 3, height, width) or (1, height, width, 3), and of clips
    (1, 3, frames, height, width) or (1, frames, height, width, 3); a file whose input has open dimensions is fixed to
    it. `precision` is that of the weights: f32, f16 or int8. `weights` is the second file of a format that has two,
    such as the .bin of an OpenVINO IR.
    """

    path: Path
    format: str
    input_shape: tuple[int, ...]
    input_dtype: str = "float32"
    precision: str = "f32"
    weights: Path | None = None

    def parts(self) -> tuple[Path, ...]:
        """Every file it is made of, with those beside it of the same stem: an ONNX file may keep weights there."""
        found = set(self.path.rglob("*") if self.path.is_dir() else self.path.parent.glob(f"{self.path.stem}.*"))
        if self.weights is not None:
            found.add(self.weights)
        return tuple(sorted(part for part in found if part.is_file() and part.suffix != ".yaml"))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The part of `model.yaml` that a runtime needs: a name, the files in order of preference, the labels."""

    name: str
    files: tuple[ModelFile, ...]
    labels: tuple[str, ...]

    def files_in(self, formats: tuple[str, ...]) -> tuple[ModelFile, ...]:
        """The files a runtime that reads `formats` can load."""
        return tuple(file for file in self.files if file.format in formats)
