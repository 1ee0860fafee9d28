"""OpenVINO keeps what it compiles only where it reads back the same."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.blobs import ban_blobs, open_blobs
from edge_vision.inference.select import load


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_int8_network_of_an_old_exporter_sees_the_same_at_the_second_start(data: Path) -> None:
    """2026.4 reads 200 objects with a score of 1 out of its own blob of this one, where there are two."""
    path = data / "models/vehicle_lpd_0106_ir_int8/vehicle-license-plate-detection-barrier-0106.xml"
    file = ModelFile(path, "openvino", (1, 3, 300, 300), precision="int8", weights=path.with_suffix(".bin"))
    picture = cv2.imread(str(data / "images/plates_sample/hyperlpr_1.jpg"))
    assert picture is not None
    tensor = cv2.resize(picture, (300, 300)).transpose(2, 0, 1)[None].astype(np.float32)
    for _ in range(3):
        engine = load("openvino", file, LoadOptions("int8"))
        with engine.open_session() as session:
            (rows,) = session.infer({engine.inputs[0].name: np.ascontiguousarray(tensor)}).values()
            assert (rows[0, 0, :, 2] > 0.5).sum() == 2


def test_only_the_version_that_was_banned_is_kept_from_the_folder(tmp_path: Path) -> None:
    """An update may have mended it."""
    (tmp_path / "m.xml").write_bytes(b"net")
    file = ModelFile(tmp_path / "m.xml", "openvino", (1, 3, 8, 8))
    folder = open_blobs("openvino", file, "1")
    assert folder is not None
    (folder / "1.blob").write_bytes(b"compiled")
    ban_blobs(folder, "1")
    assert not list(folder.glob("*.blob"))
    assert open_blobs("openvino", file, "1") is None
    assert open_blobs("openvino", file, "2") == folder
