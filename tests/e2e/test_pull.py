"""`edge-vision models pull` and `list`, as a user calls them, against a local server of the real files."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import commands
import pytest
import yaml
from catalogued import FOLDERS, real_file
from conftest import Start, wait_until
from file_server import Fault, certificate, serving

import edge_vision as edge_vision_package
from edge_vision.core.detections import Detections
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load, usable_files
from edge_vision.models.bundle import read_bundle
from edge_vision.models.catalog.entries import read_catalog
from edge_vision.models.proof.record import find_pictures, look
from edge_vision.models.proof.truth import Labeled

PACKAGE = Path(edge_vision_package.__file__).parent
SLOW = Fault(piece=1 << 16, pause_s=0.06)
"""YOLOX-nano takes about two seconds."""

Pull = Callable[..., commands.Done]


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    """An environment with a cache of its own, and this package whatever the folder a command runs in."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(PACKAGE.parent)}


@pytest.fixture
def models(tmp_path: Path, cache: dict[str, str]) -> Pull:
    """Runs `edge-vision models …` in the test's folder."""
    return partial(commands.models, cwd=tmp_path, env=cache)


@pytest.fixture
def real_files(data: Path) -> dict[str, bytes]:
    """The files of the catalogue, by their path on a mirror."""
    return {
        f"/{entry.name}/{file.path}": real_file(data, entry, file).read_bytes()
        for entry in read_catalog().entries
        for file in entry.files
    }


def seen(folder: Path, backend: str, pictures: list[Path], **thresholds: Any) -> dict[str, Detections]:
    """What a pulled bundle sees in pictures, with the file that a runtime reads."""
    bundle, problems = read_bundle(folder)
    assert bundle is not None, problems
    file = usable_files(backend, bundle.spec, "int8" if bundle.spec.files[0].precision == "int8" else "f32")[0]
    limits = bundle.thresholds.model_copy(update=thresholds)
    return dict(look(bundle, file, load(backend, file, LoadOptions()), pictures, limits))


@pytest.mark.parametrize("backend, file", [("onnxruntime", "yolox_nano.onnx"), ("litert", "yolox_nano_float16.tflite")])
def test_a_pulled_yolox_nano_has_the_known_average_precision(
    backend: str, file: str, models: Pull, real_files: dict[str, bytes], tmp_path: Path, data: Path
) -> None:
    """From the server to COCO's figures, within 0.002 of expected/."""
    with serving(real_files) as server:
        code, output, errors = models("pull", "yolox_nano", "--mirror", server.url)
    assert (code, errors) == (0, "")
    assert "models/yolox_nano: 2 files, 5.6 MB, Apache-2.0, from https://github.com/Megvii" in output
    assert "to prove it: edge-vision models golden models/yolox_nano --images DIR" in output
    folder = data / "images/coco_det_ccby"
    found = seen(tmp_path / "models/yolox_nano", backend, find_pictures(folder), confidence=0.01, iou=0.65)
    bundle, _ = read_bundle(tmp_path / "models/yolox_nano")
    assert bundle is not None
    measured = Labeled(folder / "annotations.json", bundle.spec.labels).average_precision(found)
    expected = json.loads((data / "expected/detection_ap.json").read_text())["ap"][file]
    assert [measured.ap, measured.ap50, measured.ap75] == pytest.approx(
        expected["coco_det_ccby AP,AP50,AP75"], abs=0.002
    )


def test_a_pulled_vehicle_lpd_0106_sees_the_truck_and_its_plate(
    models: Pull, real_files: dict[str, bytes], tmp_path: Path, data: Path
) -> None:
    """Boxes as read off the picture by eye, in pixels of its 320."""
    with serving(real_files) as server:
        code, output, errors = models("pull", "vehicle_lpd_0106", "--mirror", server.url, "-o", "lpd")
    assert (code, errors) == (0, "")
    assert "not proven yet" in output
    found = seen(tmp_path / "lpd", "openvino", [data / "images/plates_sample/hyperlpr_1.jpg"])["hyperlpr_1.jpg"]
    assert sorted(found.class_id.tolist()) == [0, 1]
    assert min(found.confidence.tolist()) > 0.9
    boxes = {int(number): box for number, box in zip(found.class_id, found.xyxy.tolist(), strict=True)}
    assert boxes[0] == pytest.approx([88, 57, 251, 250], abs=6)
    assert boxes[1] == pytest.approx([153, 215, 177, 228], abs=3)


FACES = [(133, 81, 222, 204), (260, 47, 347, 168), (439, 118, 489, 185), (7, 101, 50, 160)]
"""In face.jpg: four people, as read off the picture by eye."""


@pytest.mark.parametrize(
    "name, backend",
    [("ultraface_rfb320", "onnxruntime"), ("ultraface_rfb320", "litert"), ("yunet_120x160", "onnxruntime")],
)
def test_a_pulled_face_detector_sees_four_faces(
    name: str, backend: str, models: Pull, real_files: dict[str, bytes], tmp_path: Path, data: Path
) -> None:
    """Each face once and nothing else; the eyes of YuNet's keypoints lie in the upper half of the face."""
    with serving(real_files) as server:
        code, _, errors = models("pull", name, "--mirror", server.url)
    assert (code, errors) == (0, "")
    found = seen(tmp_path / "models" / name, backend, [data / "images/misc/face.jpg"])["face.jpg"]
    assert len(found) == len(FACES)
    for number, box in enumerate(found.xyxy.tolist()):
        nearest = min(FACES, key=lambda face: abs(face[0] - box[0]))
        assert box == pytest.approx(nearest, abs=14)
        if found.keypoints is not None:
            middle = (box[1] + box[3]) / 2
            assert max(found.keypoints[number, :2, 1]) < middle < min(found.keypoints[number, 3:, 1])
    assert (found.keypoints is not None) == (name == "yunet_120x160")


def test_a_pull_killed_in_the_middle_goes_on_where_it_was(
    models: Pull, edge_vision: Start, real_files: dict[str, bytes], tmp_path: Path, cache: dict[str, str]
) -> None:
    """Killed after a megabyte: the second pull asks for the rest alone, and no half bundle is there in between."""
    whole = len(real_files["/yolox_nano/yolox_nano.onnx"])
    part = tmp_path / "cache/edge-vision/downloads" / f"{read_catalog().entry('yolox_nano').files[0].sha256}.part"
    with serving(real_files, SLOW) as server:
        first = edge_vision("models", "pull", "yolox_nano", "--mirror", server.url, cwd=tmp_path, env=cache)
        wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, 60, "a megabyte has come")
        os.kill(first.pid, signal.SIGKILL)
        first.wait(60)
        kept = part.stat().st_size
        assert kept < whole
        assert not (tmp_path / "models").exists()
        code, _, errors = models("pull", "yolox_nano", "--mirror", server.url)
    assert (code, errors) == (0, "")
    assert [one.range for one in server.asked] == [None, f"bytes={kept}-", None]
    assert server.asked[1].sent == whole - kept
    print(f"killed at {kept} of {whole} bytes, {server.asked[1].sent} sent the second time")
    bundle, problems = read_bundle(tmp_path / "models/yolox_nano")
    assert bundle is not None, problems


def test_two_pulls_at_once_fetch_it_once(
    edge_vision: Start, real_files: dict[str, bytes], tmp_path: Path, cache: dict[str, str]
) -> None:
    """Into two folders: both are whole, and the server sent the file once."""
    with serving(real_files, always=SLOW) as server:
        both = [
            edge_vision(
                "models", "pull", "yolox_nano", "--mirror", server.url, "-o", name, cwd=tmp_path, env=cache
            )
            for name in ("one", "two")
        ]  # fmt: skip
        ends = [process.communicate(timeout=60)[1] for process in both]
    assert ends == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert server.sent == read_catalog().entry("yolox_nano").size
    assert all(read_bundle(tmp_path / name)[0] is not None for name in ("one", "two"))


def test_a_stick_fills_a_closed_network(models: Pull, real_files: dict[str, bytes], tmp_path: Path) -> None:
    """Filled from a server, carried, and pulled from without one; a damaged file on it is refused with both sums."""
    with serving(real_files) as server:
        code, output, errors = models("pull", *FOLDERS, "--to-mirror", "stick", "--mirror", server.url)
    assert (code, errors) == (0, "")
    assert "stick/yolox_nano: 2 files, 5.6 MB" in output
    (tmp_path / "stick").rename(tmp_path / "carried")
    for name in FOLDERS:
        code, _, errors = models("pull", name, "--mirror", "carried")
        assert (code, errors) == (0, "")
        assert read_bundle(tmp_path / "models" / name)[0] is not None
    weights = tmp_path / "carried/yolox_nano/yolox_nano.onnx"
    content = bytearray(weights.read_bytes())
    content[1_000_000] ^= 1
    weights.write_bytes(content)
    code, _, errors = models("pull", "yolox_nano", "--mirror", "carried", "-o", "other")
    assert code == 70
    assert hashlib.sha256(content).hexdigest() in errors
    assert read_catalog().entry("yolox_nano").files[0].sha256 in errors
    assert not (tmp_path / "other").exists()


def test_a_catalogue_of_ones_own_is_pulled_over_tls(models: Pull, tmp_path: Path, cache: dict[str, str]) -> None:
    """The road without a mirror: https, with the authority that SSL_CERT_FILE names; then listed as pulled."""
    content = b"weights of ours"
    pem = certificate(tmp_path)
    cache["SSL_CERT_FILE"] = str(pem)
    with serving({"/v1/ours.onnx": content}, certificate=pem) as server:
        write_catalog(tmp_path / "ours.yaml", f"{server.url}/v1/ours.onnx", content)
        code, output, errors = models("pull", "ours", "--catalog", "ours.yaml")
    assert (code, errors) == (0, "")
    assert "models/ours: 1 file, 0.0 MB, MIT, from https://example.org/ours" in output
    assert (tmp_path / "models/ours/ours.onnx").read_bytes() == content
    written = yaml.safe_load((tmp_path / "models/ours/model.yaml").read_text())
    assert written["files"] == [{"path": "ours.onnx", "format": "onnx", "sha256": hashlib.sha256(content).hexdigest()}]
    code, output, _ = models("list", "--catalog", "ours.yaml", "--json")
    assert [(one["name"], one["license"], one["pulled"]) for one in json.loads(output)] == [("ours", "MIT", True)]


def write_catalog(file: Path, url: str, content: bytes) -> None:
    """A catalogue of one small model."""
    model = {
        "version": 1,
        "name": "ours",
        "task": "detection",
        "files": [{"path": "ours.onnx", "format": "onnx"}],
        "input": {"size": [320, 320]},
        "output": {"format": "yolox"},
        "labels": ["thing"],
        "source": {"license": "MIT", "url": "https://example.org/ours"},
    }
    remote = {"path": "ours.onnx", "url": url, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    entry = {"description": "Things.", "files": [remote], "model": model}
    file.write_text(yaml.safe_dump({"version": 1, "models": [entry]}))


def test_the_list_names_license_size_and_address(models: Pull) -> None:
    """As a table, and with the addresses for whoever fetches by other means."""
    code, output, _ = models("list")
    assert code == 0
    assert output.splitlines()[0].split()[:6] == ["name", "task", "license", "size", "input", "pulled"]
    assert output.splitlines()[1].split()[:7] == ["yolox_nano", "detection", "Apache-2.0", "5.6", "MB", "416x416", "no"]
    code, output, _ = models("list", "--urls")
    for line in output.splitlines():
        sha256, place, url = line.split()
        assert len(sha256) == 64
        assert place.partition("/")[0] in FOLDERS
        assert url.startswith("https://")


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (["yolox_nona"], 78, "no model yolox_nona in the catalogue; did you mean yolox_nano?"),
        (["yolox_nano", "--mirror", "nowhere"], 78, "--mirror nowhere: no such folder"),
        (["yolox_nano", "--mirror", "ftp://host"], 78, "--mirror: ftp:// is no address of a mirror"),
        (["yolox_nano", "--mirror", "http://me:secret@host"], 78, "credentials inside a URL end up in logs"),
        (["yolox_nano", "--mirror", "."], 70, "yolox_nano/yolox_nano.onnx: no such file; the mirror must have it"),
        (["yolox_nano", "--mirror", ".", "-o", "there"], 78, "there: exists already"),
        (["yolox_nano", "vehicle_lpd_0106", "-o", "x"], 78, "--output names one folder, but 2 models are asked for"),
        (["yolox_nano", "--catalog", "none.yaml"], 78, "none.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_sentences(arguments: list[str], code: int, text: str, models: Pull, tmp_path: Path) -> None:
    """One line, the right exit code, no traceback, no password, and nothing is made."""
    (tmp_path / "there").mkdir()
    ended, output, errors = models("pull", *arguments)
    assert (ended, output) == (code, "")
    assert text in errors
    assert len(errors.splitlines()) == 1
    assert "secret" not in errors
    assert not (tmp_path / "models").exists()


def test_a_server_that_has_it_not_ends_with_70(models: Pull) -> None:
    """The address and the answer."""
    with serving({}) as server:
        code, _, errors = models("pull", "yolox_nano", "--mirror", f"{server.url}/models/")
    assert code == 70
    assert errors == f"edge-vision: {server.url}/models/yolox_nano/yolox_nano.onnx: 404 Not Found\n"


def test_an_interrupted_pull_leaves_no_bundle(
    edge_vision: Start, real_files: dict[str, bytes], tmp_path: Path, cache: dict[str, str]
) -> None:
    """Ctrl-C: 130, no traceback, and what came is kept."""
    downloads = tmp_path / "cache/edge-vision/downloads"
    with serving(real_files, SLOW) as server:
        process = edge_vision("models", "pull", "yolox_nano", "--mirror", server.url, cwd=tmp_path, env=cache)
        wait_until(lambda: any(one.stat().st_size > 300_000 for one in downloads.glob("*.part")), 60, "some has come")
        os.kill(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "models").exists()
    assert any(downloads.glob("*.part"))
