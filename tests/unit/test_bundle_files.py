"""A bundle's files of weights: formats of two files, folders, and the checksums of all of it."""

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_vision.core.document import Problem
from edge_vision.core.files import sha256_of
from edge_vision.core.model import ModelFile
from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.models.options import COMPANIONS, FORMATS

PAIRS = {
    "openvino": ("m.xml", "m.bin"),
    "paddle": ("m.pdmodel", "m.pdiparams"),
    "caffe": ("m.prototxt", "m.caffemodel"),
    "darknet": ("m.cfg", "m.weights"),
}


def _read(folder: Path, **file: Any) -> tuple[Bundle | None, list[Problem]]:
    content = {
        "version": 1,
        "name": "m",
        "task": "detection",
        "files": [file],
        "input": {"size": [64, 64]},
        "output": {"format": "yolox"},
        "labels": ["a"],
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return read_bundle(folder)


def _refused(folder: Path, **file: Any) -> Problem:
    bundle, (problem,) = _read(folder, **file)
    assert bundle is None
    return problem


def test_every_format_of_two_files_is_tried_here() -> None:
    """The table below grows with that of the package."""
    assert PAIRS.keys() == COMPANIONS.keys()
    assert COMPANIONS.keys() <= set(FORMATS)


@pytest.mark.parametrize("name, network, weights", [(name, *pair) for name, pair in PAIRS.items()])
def test_a_network_needs_the_weights_beside_it(name: str, network: str, weights: str, tmp_path: Path) -> None:
    """A problem with line and column names the file that is missing and what it is for; with it the bundle reads."""
    (tmp_path / network).touch()
    problem = _refused(tmp_path, path=network, format=name)
    assert (problem.path, problem.line) == ("files[0].path", 5)
    assert str(tmp_path / weights) in problem.text
    assert f"the weights beside the {Path(network).suffix} are missing (no such file)" in problem.text
    (tmp_path / weights).touch()
    bundle, problems = _read(tmp_path, path=network, format=name)
    assert bundle is not None, problems
    assert bundle.spec.files[0].weights == tmp_path / weights


def test_weights_of_another_name_are_named(tmp_path: Path) -> None:
    """`weights` replaces the default; one that is not there is a problem of that key."""
    (tmp_path / "net.prototxt").touch()
    file = {"path": "net.prototxt", "format": "caffe", "weights": "trained.caffemodel"}
    assert _refused(tmp_path, **file).path == "files[0].weights"
    (tmp_path / "trained.caffemodel").touch()
    bundle, problems = _read(tmp_path, **file)
    assert bundle is not None, problems
    assert bundle.spec.files[0].weights == tmp_path / "trained.caffemodel"
    assert "must lie inside the bundle" in _refused(tmp_path, **{**file, "weights": "../trained.caffemodel"}).text


@pytest.mark.parametrize("key, value", [("weights", "m.bin"), ("weights_sha256", "0" * 64)])
def test_a_format_of_one_file_has_no_weights_beside_it(key: str, value: str, tmp_path: Path) -> None:
    """Written there, they would be believed to matter."""
    (tmp_path / "m.onnx").touch()
    problem = _refused(tmp_path, path="m.onnx", format="onnx", **{key: value})
    assert "format onnx is one file" in problem.text


def test_both_files_have_a_checksum(tmp_path: Path) -> None:
    """Each is checked against its own."""
    (tmp_path / "m.cfg").write_bytes(b"net")
    (tmp_path / "m.weights").write_bytes(b"numbers")
    sums = [hashlib.sha256(content).hexdigest() for content in (b"net", b"numbers")]
    file = {"path": "m.cfg", "format": "darknet", "sha256": sums[0], "weights_sha256": sums[1]}
    assert _read(tmp_path, **file)[1] == []
    problem = _refused(tmp_path, **{**file, "weights_sha256": sums[0]})
    assert problem.path == "files[0].weights_sha256"
    assert f"m.weights has sha256 {sums[1]}" in problem.text
    assert _refused(tmp_path, **{**file, "sha256": sums[1]}).path == "files[0].sha256"


def test_a_saved_model_is_a_folder_with_a_checksum(tmp_path: Path) -> None:
    """A file is none; the checksum is that of the list that sha256sum prints."""
    (tmp_path / "file").touch()
    assert "is not a folder" in _refused(tmp_path, path="file", format="savedmodel").text
    folder = tmp_path / "net"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    listed = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    total = listed.stdout.split()[0]
    assert _read(tmp_path, path="net", format="savedmodel", sha256=total)[1] == []
    (folder / "variables" / "variables.index").write_bytes(b"other")
    assert _refused(tmp_path, path="net", format="savedmodel", sha256=total).path == "files[0].sha256"


def test_the_parts_of_a_file_are_all_that_a_verdict_depends_on(tmp_path: Path) -> None:
    """The companion wherever it lies, what shares the stem, the whole of a folder; never model.yaml."""
    for name in ("model.onnx", "model.onnx.data", "model.yaml", "other.onnx", "trained.bin"):
        (tmp_path / name).write_text(name)
    file = ModelFile(tmp_path / "model.onnx", "onnx", (1, 3, 8, 8))
    assert [part.name for part in file.parts()] == ["model.onnx", "model.onnx.data"]
    beside = replace(file, weights=tmp_path / "trained.bin")
    assert [part.name for part in beside.parts()] == ["model.onnx", "model.onnx.data", "trained.bin"]
    folder = tmp_path / "net"
    (folder / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (folder / name).write_text(name)
    before = sha256_of(folder)
    parts = ModelFile(folder, "savedmodel", (1, 8, 8, 3)).parts()
    assert [part.relative_to(folder).as_posix() for part in parts] == ["saved_model.pb", "variables/variables.index"]
    (folder / "variables/variables.index").rename(folder / "variables.index")
    assert sha256_of(folder) != before
