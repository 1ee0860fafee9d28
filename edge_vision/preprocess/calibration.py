"""Reads what OpenCV's calibration programs write about a lens: camera matrix, distortion and picture size."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

_MOST_BYTES: Final = 1_000_000
_COEFFICIENTS: Final = (4, 5, 8, 12, 14)
"""Lengths of a distortion vector that OpenCV takes (docs of `cv::initUndistortRectifyMap`)."""
_MATRIX: Final = ("camera_matrix", "cameraMatrix", "K", "mtx")
_DISTORTION: Final = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "D", "dist")


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A lens: `matrix` float64 (3, 3) and `distortion` float64 (k,), for pictures of `wh` pixels."""

    wh: tuple[int, int]
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]


class _Loader(yaml.SafeLoader):
    """YAML with OpenCV's tag for matrices, which are mappings like any other."""


def _mapping(loader: yaml.SafeLoader, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "a matrix is a mapping", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _mapping)


def read_calibration(file: Path) -> Calibration:
    """A file of `cv::FileStorage`, YAML or JSON; needs no OpenCV. Raises ValueError that says what is wrong with it.

    It needs `camera_matrix`, `distortion_coefficients`, `image_width` and `image_height`, as OpenCV's calibration
    sample writes them; `cameraMatrix`, `K`, `mtx`, `distCoeffs`, `dist_coeffs`, `D`, `dist` and `image_size` are
    understood, too.
    """
    content = _read(file)
    size = content.get("image_size", (content.get("image_width"), content.get("image_height")))
    whole = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)  # noqa: PLR2004 - width and height
    if not whole:
        msg = f"{file}: needs image_width and image_height, the size of the pictures it was made with"
        raise ValueError(msg)
    matrix, distortion = _numbers(file, content, _MATRIX), _numbers(file, content, _DISTORTION)
    if matrix.size != 9 or matrix[0] <= 0 or matrix[4] <= 0 or matrix[8] != 1:  # noqa: PLR2004 - 3x3, row by row
        msg = f"{file}: camera_matrix is no camera matrix: 3x3 with two focal lengths and a 1, not {matrix.tolist()}"
        raise ValueError(msg)
    if len(distortion) not in _COEFFICIENTS:
        msg = f"{file}: distortion_coefficients has {len(distortion)} numbers, OpenCV takes 4, 5, 8, 12 or 14"
        raise ValueError(msg)
    return Calibration((size[0], size[1]), matrix.reshape(3, 3), distortion)


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            msg = f"{file}: {file.stat().st_size} bytes are no calibration"
            raise ValueError(msg)
        text = file.read_text(encoding="utf-8")
        # OpenCV's header "%YAML:1.0" is none for YAML, which wants a space there.
        content = yaml.load(re.sub(r"\A%YAML[^\n]*\n", "", text), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        msg = f"{file}: {(error.strerror or 'cannot be read').lower()}"
        raise ValueError(msg) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        msg = f"{file}: is not a YAML or JSON file as cv::FileStorage writes it"
        raise ValueError(msg) from None
    if not isinstance(content, dict):
        msg = f"{file}: is not a calibration: holds no names"
        raise ValueError(msg)  # noqa: TRY004 - what it is said of is the file
    return content


def _numbers(file: Path, content: dict[str, Any], names: tuple[str, ...]) -> NDArray[np.float64]:
    """The numbers of the first of `names` that is there, row by row."""
    value = next((content[name] for name in names if name in content), None)
    if isinstance(value, dict):
        value = value.get("data")
    try:
        numbers = np.array(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if value is None or not np.isfinite(numbers).all():
        msg = f"{file}: needs {names[0]} with its numbers"
        raise ValueError(msg)
    return numbers
