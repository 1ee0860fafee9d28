"""Every real model file is shown to give its known answer, or is refused, by a test that the note names."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from bundles import write_bundle, write_reid
from commands import models
from conftest import ROOT
from reading_bundles import write_lprnet, write_plates

from edge_vision.models.golden import read_golden

NOTE = (ROOT / "benchmarks/baseline/2026-11-22-known-answers.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in NOTE.splitlines() if re.match(r"\| `", line)]
COMPANIONS = {".bin", ".caffemodel", ".weights", ".txt", ".names"}
"""Weights and labels come with the file that has the network."""


def test_the_note_has_every_file(data: Path) -> None:
    """A row for each network, by folder and name, and none for another."""
    there = {
        file.relative_to(data / "models").as_posix()
        for file in (data / "models").rglob("*")
        if file.is_file() and file.suffix not in COMPANIONS
    }
    assert len(ROWS) == len(there)
    assert {row[0].strip("`") for row in ROWS} == there


def test_the_tests_of_the_note_are_there() -> None:
    """Each row names a file and a function that exist."""
    for row in ROWS:
        name, _, function = row[-1].strip("`").partition("::")
        (file,) = (ROOT / "tests").rglob(name)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row[0]


@pytest.mark.parametrize(
    "format_, backend",
    [("onnx", "onnxruntime"), ("onnx", "openvino"), ("onnx", "opencv_dnn"), ("openvino", "openvino")],
)
def test_lprnet_reads_its_91_plates(format_: str, backend: str, data: Path, tmp_path: Path) -> None:
    """Of a hundred crops, from either file, on every runtime that reads one: as many as the reference decoder."""
    bundle = write_lprnet(tmp_path / "onnx", data)
    if format_ == "openvino":
        files = [{"path": "lprnet_fp32.xml", "format": "openvino"}]
        content = yaml.safe_load((bundle / "model.yaml").read_text())
        other = write_bundle(tmp_path / "ir", data / "models/lprnet", {**content, "files": files})
        (other / "chars.txt").write_bytes((bundle / "chars.txt").read_bytes())
        bundle = other
    crops = data / "images/plates_crop"
    words = ("--texts", crops / "labels.csv", "--images", crops, "--backend", backend, "--json")
    done = models("eval", bundle, *words)
    assert done.code == 0, done.errors
    facts = json.loads(done.output)
    known = json.loads((data / "expected/plates.json").read_text())
    print(f"{format_} on {backend}: {facts['exact']} of {facts['images']}, error rate {facts['error_rate']}")
    assert (facts["backend"], facts["images"], facts["exact"]) == (backend, 100, known["crops_exact"])


@pytest.mark.parametrize(
    "file, words",
    [
        ("fastestdet/FastestDet.pth", "it holds weights without the network"),
        ("lprnet/Final_LPRNet_model.pth", "it holds weights without the network"),
        ("fastestdet/FastestDet.param", "export ONNX from the framework it was trained in"),
    ],
)
def test_what_no_runtime_here_loads_is_refused_with_the_reason(file: str, words: str, data: Path) -> None:
    """In one sentence that says what to export instead."""
    done = models("check", data / "models" / file)
    assert done.code == 78
    assert words in done.errors
    assert "Traceback" not in done.errors


def test_what_has_corners_or_a_direction_is_verified_by_what_is_expected(data: Path, tmp_path: Path) -> None:
    """A plate by its box, although it has corners, too; a description by its direction, and not by being there."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").symlink_to(data / "images/plates_scene/plate_000.png")
    answers = tmp_path / "answers.json"
    for bundle, value in (
        (write_plates(tmp_path / "plates", data), "xyxy"),
        (write_reid(tmp_path / "id", data), "embedding"),
    ):
        words = ("golden", bundle, "--images", tmp_path / "pictures")
        assert models(*words).code == 0
        golden, _ = read_golden(bundle)
        assert golden is not None
        (seen,) = (golden.read(one).detections for one in golden.file.images)
        column = getattr(seen, value)[0].astype(float)
        expected = {"confidence": float(seen.confidence[0]), "class": "single_row", value: column.tolist()}
        answers.write_text(json.dumps({"a.png": [expected]}))
        done = models(*words, "--expected", answers)
        assert done.code == 0, done.errors
        assert "verified against answers.json: 1 of 1 objects found" in done.output
        expected[value] = (np.roll(column, 1) if value == "embedding" else column + np.array([40, 0, 40, 0])).tolist()
        answers.write_text(json.dumps({"a.png": [expected]}))
        done = models(*words, "--expected", answers)
        assert done.code == 78
        assert "the model does not see what is written there: " in done.errors
        assert ("embedding distance" if value == "embedding" else "mean overlap") in done.errors
