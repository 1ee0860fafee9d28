"""Where the models of the catalogue lie in the shared data."""

from pathlib import Path
from typing import Final

from edge_vision.models.catalog.entries import Entry, RemoteFile

FOLDERS: Final = {
    "yolox_nano": "yolox_nano",
    "vehicle_lpd_0106": "vehicle_lpd_0106_ir_int8",
    "ultraface_rfb320": "ultraface_rfb320",
    "yunet_120x160": "yunet_120x160",
}
"""The folder of each model; one that is not there has no business in the catalogue."""


def real_file(data: Path, entry: Entry, file: RemoteFile) -> Path:
    """The real file that an entry speaks of."""
    return data / "models" / FOLDERS[entry.name] / file.path
