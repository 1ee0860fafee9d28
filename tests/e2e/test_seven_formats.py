"""UltraFace in seven formats: the same faces on every runtime that reads one, and a remedy where none does."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Start
from face_bundles import ULTRAFACE_FILES, write_ultraface

from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import Availability
from edge_vision.inference.table import BACKENDS
from edge_vision.models.reading.refused import REFUSED

REFUSED_HERE = ("ncnn", "mnn")
UNREADABLE = {("tflite", "opencv_dnn"): "SPACE_TO_BATCH_ND"}
"""A runtime may read a format and yet not this file of it: the operator that it has not (OpenCV 4.14)."""
BUILT_AHEAD = "tensorrt"
"""Serves engines that `models build` made on a GPU: tests/contract/test_tensorrt_contract.py."""
PAIRS = [
    (name, backend)
    for name, file in ULTRAFACE_FILES.items()
    for backend, row in BACKENDS.items()
    if file["format"] in resolve(row).formats and (name, backend) not in UNREADABLE and backend != BUILT_AHEAD
]
"""Each format with each runtime that reads it."""
REFERENCE = ("onnx decoded", "onnxruntime")
SCORE = 1e-3
PIXELS = 0.25

Seen = list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real pictures, most with faces: portraits, a group, and people at work and in sports."""
    folder = tmp_path_factory.mktemp("pictures")
    images = data / "images"
    portraits = [images / "misc/face.jpg", images / "misc/grace_hopper.bmp"]
    for file in [*portraits, *images.glob("coco_*_ccby/*.jpg")]:
        (folder / file.name).symlink_to(file)
    return folder


def test_every_format_that_a_runtime_reads_is_tested_here() -> None:
    """Five of the seven run; every runtime with a reader for one of them is in the list."""
    assert {name for name, _ in PAIRS} == set(ULTRAFACE_FILES) - set(REFUSED_HERE)
    assert REFERENCE in PAIRS
    assert {backend for name, backend in PAIRS if name == "tflite"} == {"litert", "openvino"}


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str], Seen]:
    """What each pair saw, so that the reference runs once."""
    return {}


Run = Callable[[str, list[str]], "subprocess.Popen[str]"]


@pytest.fixture
def run(data: Path, pictures: Path, tmp_path: Path, edge_vision: Start, write_site: Callable[..., Path]) -> Run:
    """Starts the daemon on the pictures, with one file of UltraFace and some runtimes to choose from."""

    def start(name: str, backends: list[str]) -> "subprocess.Popen[str]":
        bundle = write_ultraface(tmp_path / "-".join([name, *backends]), data, name)
        camera = {
            "id": "faces",
            "source": {"kind": "images", "path": str(pictures)},
            "pipeline": "object_detection",
            "with": {"model": str(bundle), "backends": backends},
        }
        return edge_vision("run", write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}]))

    return start


@pytest.fixture
def look(answers: dict[tuple[str, str], Seen], pictures: Path, run: Run) -> Callable[[str, str], Seen]:
    """The objects of every picture, as the daemon publishes them with one file on one runtime."""

    def see(name: str, backend: str) -> Seen:
        if (name, backend) not in answers:
            process = run(name, [backend])
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            messages = [json.loads(line) for line in output.splitlines()]
            assert {message["model"]["backend"] for message in messages} == {backend}
            assert [message["frame"]["index"] for message in messages] == list(range(len(list(pictures.iterdir()))))
            answers[name, backend] = [message["objects"] for message in messages]
        return answers[name, backend]

    return see


@pytest.mark.parametrize("name, backend", PAIRS)
def test_the_faces_are_the_same(name: str, backend: str, look: Callable[[str, str], Seen]) -> None:
    """Face by face: scores within 0.001 of ONNX Runtime's with the decoder inside, corners within a quarter pixel."""
    if why := _why_not_here(name, backend):
        pytest.skip(why)
    expected, found = look(*REFERENCE), look(name, backend)
    assert sum(map(len, expected)) >= 20, "pictures without faces would show nothing"
    assert [len(objects) for objects in found] == [len(objects) for objects in expected]
    scores, corners = _column(expected, "confidence"), _column(expected, "xyxy")
    score = float(np.abs(_column(found, "confidence") - scores).max())
    pixels = float(np.abs(_column(found, "xyxy") - corners).max())
    print(f"{name} on {backend}: {len(scores)} faces, score difference {score:.6f}, corners {pixels:.3f} px")
    assert score <= SCORE
    assert pixels <= PIXELS


def _why_not_here(name: str, backend: str) -> str:
    """Why this machine cannot run it, in the runtime's own words: OpenCV 5 has no Caffe reader, for one."""
    here: Availability = resolve(BACKENDS[backend])().probe()
    return dict(here.lacks).get(ULTRAFACE_FILES[name]["format"], "") if here.available else here.reason


def _column(seen: Seen, key: str) -> np.ndarray[Any, Any]:
    return np.array([one[key] for objects in seen for one in objects])


@pytest.mark.parametrize("name, backend", UNREADABLE)
def test_an_operator_that_a_runtime_has_not_is_named(name: str, backend: str, run: Run) -> None:
    """Exit 78 with the operator; with another runtime behind it in the list the site runs."""
    process = run(name, [backend])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78, errors
    assert UNREADABLE[name, backend] in errors
    assert "Traceback" not in errors
    process = run(name, [backend, "openvino"])
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert {json.loads(line)["model"]["backend"] for line in output.splitlines()} == {"openvino"}


@pytest.mark.parametrize("name", REFUSED_HERE)
def test_what_no_runtime_reads_is_refused_with_the_remedy(name: str, run: Run, edge_vision: Start) -> None:
    """Exit 78 before anything runs, of `check` too: the line of the file, why, and what to export instead."""
    first = run(name, list(BACKENDS))
    site = next(word for word in first.args if str(word).endswith(".yaml"))  # type: ignore[union-attr]
    for process in (first, edge_vision("check", site)):
        output, errors = process.communicate(timeout=60)
        said = output + errors
        assert process.returncode == 78, said
        assert "model.yaml:" in said
        assert str(REFUSED[name]) in said
        assert "export ONNX" in REFUSED[name].remedy
        assert "Traceback" not in said
