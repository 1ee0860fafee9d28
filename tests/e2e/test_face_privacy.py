"""Faces are unrecognizable in what `face_privacy` hands on: two detectors find them no more; the rest is unchanged."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from commands import run
from face_bundles import write_ultraface, write_yunet
from numpy.typing import NDArray

from edge_vision.app.check import check_site
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import Road, open_road
from edge_vision.core.detections import Detections
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_frame

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detectors(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two face detectors of different families."""
    folder = tmp_path_factory.mktemp("faces")
    return {
        "ultraface": write_ultraface(folder / "ultraface", data, "onnx decoded"),
        "yunet": write_yunet(folder / "yunet", data),
    }


@contextmanager
def _road(pipeline: str, model: Path, **settings: Any) -> Iterator[Road]:
    """The road of a site's only camera, without its source."""
    camera = {"id": "test", "source": {"kind": "synthetic"}, "pipeline": pipeline}
    content = {"version": 1, "site": "test", "cameras": [{**camera, "with": {"model": str(model), **settings}}]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "site.yaml"
        file.write_text(yaml.safe_dump(content))
        checked = check_site(file)
    engines = load_engines(checked.site, checked.bundles)
    with open_road(checked.site.cameras[0], engines, SystemClock()) as road:
        yield road


def _pictures(data: Path) -> list[Path]:
    portraits = [data / "images/misc/face.jpg", data / "images/misc/grace_hopper.bmp"]
    return [*portraits, *sorted((data / "images/coco_person_kpt_ccby").glob("*.jpg"))]


def _inside(found: Detections, regions: Detections) -> list[list[float]]:
    """The boxes found whose middle lies in a region."""
    middles = (found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2
    return [
        box.tolist()
        for box, middle in zip(found.xyxy, middles, strict=True)
        if ((middle > regions.xyxy[:, :2]) & (middle < regions.xyxy[:, 2:])).all(axis=1).any()
    ]


def _grown(regions: Detections, wh: tuple[int, int], by: float) -> NDArray[np.bool_]:
    """Where a picture may be changed: the boxes, grown on each side, and a pixel for rounding."""
    mask = np.zeros((wh[1], wh[0]), bool)
    for left, top, right, bottom in regions.xyxy.astype(float):
        wide, tall = by * (right - left) + 1, by * (bottom - top) + 1
        mask[max(0, int(top - tall)) : int(bottom + tall) + 1, max(0, int(left - wide)) : int(right + wide) + 1] = True
    return mask


@pytest.mark.parametrize("chosen", ["ultraface", "yunet"])
@pytest.mark.parametrize("method", ["blur", "fill"])
def test_covered_faces_are_found_no_more(chosen: str, method: str, data: Path, detectors: dict[str, Path]) -> None:
    """Neither by the detector that found them nor by the other; pixels outside and the frame itself are unchanged."""
    faces = 0
    with _road("face_privacy", detectors[chosen], method=method) as cover:
        for number, file in enumerate(_pictures(data)):
            picture = cv2.imread(str(file))
            assert picture is not None
            original = np.asarray(picture, np.uint8)
            before = original.copy()
            frame = make_frame(original, media_ns=number * 10**10)
            scene = cover(frame)
            faces += len(scene.detections)
            assert np.array_equal(original, before), "the frame of others was written to"
            changed = (scene.frame.image != before).any(axis=2)
            assert not (changed & ~_grown(scene.detections, frame.wh, 0.4)).any()
            assert (scene.frame is frame) == (len(scene.detections) == 0)
            for name, model in detectors.items():
                left = _found(model, scene.frame.image)
                assert _inside(left, scene.detections) == [], f"{file.name}: {name} still finds a face"
    assert faces >= 7, "pictures without faces would show nothing"


_OPEN: dict[Path, Any] = {}


@pytest.fixture(autouse=True, scope="module")
def _close_roads() -> Iterator[None]:
    yield
    for context, _ in _OPEN.values():
        context.__exit__(None, None, None)
    _OPEN.clear()


def _found(model: Path, image: Picture) -> Detections:
    """What a detector finds at its own threshold, on a road of its own that is opened once."""
    if model not in _OPEN:
        context = _road("object_detection", model)
        _OPEN[model] = (context, context.__enter__())
    found: Detections = _OPEN[model][1](make_frame(image.copy())).detections
    return found


def test_frames_in_which_the_detector_misses_a_face_are_covered_too(data: Path, detectors: dict[str, Path]) -> None:
    """A person turns and many frames are missed: the face is covered where it lay between those that were not."""
    clip = cv2.VideoCapture(str(data / "video/one-by-one-person-detection.mp4"))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 270)
    boxes: dict[int, NDArray[np.float32]] = {}
    changed: list[NDArray[np.bool_]] = []
    with _road("face_privacy", detectors["ultraface"], method="fill") as cover:
        for number in range(160):
            _, picture = clip.read()
            frame = make_frame(np.asarray(picture, np.uint8), index=number, media_ns=number * 100_000_000)
            scene = cover(frame)
            if len(scene.detections):
                boxes[number] = scene.detections.xyxy[0]
            changed.append((scene.frame.image != frame.image).any(axis=2))
            assert len(_found(detectors["ultraface"], scene.frame.image)) == 0, number
    assert len(boxes) >= 100
    missed = 0
    for before, after in zip(sorted(boxes), sorted(boxes)[1:], strict=False):
        for number in range(before + 1, after if after - before <= 10 else before):
            along = (number - before) / (after - before)
            left, top, right, bottom = ((1 - along) * boxes[before] + along * boxes[after]).astype(int)
            inner = changed[number][top:bottom, left:right]
            assert inner.mean() > 0.9, f"frame {number} shows the face"
            missed += 1
    assert missed >= 5


def test_try_writes_a_picture_without_faces(data: Path, detectors: dict[str, Path], tmp_path: Path) -> None:
    """The drawing of the real command: boxes where the faces were, and nobody to recognize."""
    source = data / "images/misc/face.jpg"
    out = tmp_path / "seen.png"
    done = run("try", source, "--pipeline", "face_privacy", "--model", detectors["ultraface"], "-o", out)
    assert done.code == 0, done.errors
    assert "4 face" in done.output
    picture, original = cv2.imread(str(out)), cv2.imread(str(source))
    assert picture is not None
    assert original is not None
    faces = _found(detectors["ultraface"], np.asarray(original, np.uint8))
    assert len(faces) == 4
    for model in detectors.values():
        assert _inside(_found(model, np.asarray(picture, np.uint8)), faces) == []
    # Where no face and no label of one is, nothing was drawn.
    lower = slice(int(faces.xyxy[:, 3].max()) + 60, None)
    assert picture[lower].size > 0
    assert np.array_equal(picture[lower], original[lower])


def test_messages_say_where_faces_were(
    data: Path, detectors: dict[str, Path], write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """What is found is published as ever: boxes and scores, without a pixel."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").symlink_to(data / "images/misc/face.jpg")
    camera = {
        "id": "hall", "source": {"kind": "images", "path": str(folder)}, "pipeline": "face_privacy",
        "with": {"model": str(detectors["ultraface"]), "method": "fill"},
    }  # fmt: skip
    done = run("run", write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}]))
    assert done.code == 0, done.errors
    (message,) = (json.loads(line) for line in done.output.splitlines())
    assert [found["class"] for found in message["objects"]] == ["face"] * 4
