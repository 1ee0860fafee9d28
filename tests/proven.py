"""A bundle around the real YOLOX-nano with golden data, for tests that make other files of it."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.models.proof.record import Recording, record


def make_proven(folder: Path, yolox: Path, images: Path, most: int = 13) -> Bundle:
    """Copy the bundle and record what ONNX Runtime sees in the pictures."""
    shutil.copytree(yolox, folder)
    bundle, problems = read_bundle(folder)
    assert bundle is not None, problems
    record(bundle, Recording(images, most=most), lambda _done, _all: None)
    return reread(folder)


def reread(folder: Path) -> Bundle:
    """The bundle as it is on disk now."""
    bundle, problems = read_bundle(folder)
    assert bundle is not None, problems
    return bundle


def add_file(folder: Path, source: Path, **row: Any) -> None:
    """Put a file into a bundle's folder and into its list, as somebody would by hand."""
    shutil.copyfile(source, folder / source.name)
    content = yaml.safe_load((folder / "model.yaml").read_text())
    content["files"].append({"path": source.name, **row})
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
