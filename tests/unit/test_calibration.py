"""Checks what a quantizer is shown."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vision.core.errors import ConfigError
from edge_vision.models.making.calibration import Calibration, pick_pictures
from edge_vision.preprocess.options import InputOptions

OPTIONS = InputOptions(size=(16, 16), color="rgb", scale=1 / 255, resize="stretch")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Nine pictures, the first black and each a little redder."""
    for number in range(9):
        picture = np.zeros((20, 20, 3), np.uint8)
        picture[..., 2] = number * 25
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    return tmp_path


def test_every_picture_becomes_a_tensor_of_its_own_as_the_model_wants_it(folder: Path) -> None:
    """The real preprocessing; a tool may keep what it was given, and start over."""
    calibration = Calibration(OPTIONS, pick_pictures((folder,), 100))
    tensors = list(calibration)
    assert len(tensors) == len(calibration) == 9
    assert [float(tensor[0, 0].mean()) for tensor in tensors] == pytest.approx([n * 25 / 255 for n in range(9)])
    assert all(tensor[0, 1:].max() == 0 for tensor in tensors)
    assert len(list(calibration)) == 9


@pytest.mark.parametrize("most, names", [(1, "0"), (2, "08"), (3, "048"), (9, "012345678")])
def test_fewer_pictures_are_spread_over_all(most: int, names: str, folder: Path) -> None:
    """Frames of one clip lie beside each other: the first ones alone would all be alike."""
    assert "".join(picture.stem for picture in pick_pictures((folder,), most)) == names


def test_a_folder_without_pictures_is_named(folder: Path) -> None:
    """Among several, the one that is empty; and a file that is no picture."""
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: holds no picture"):
        pick_pictures((folder, folder / "empty"), 3)
    (folder / "0.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"0\.png: is not a picture"):
        list(Calibration(OPTIONS, pick_pictures((folder,), 1)))
