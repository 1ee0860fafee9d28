"""Real models that are no detectors, down the real road: classes, masks and embeddings with known answers."""

import csv
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml
from bundles import write_bundle, write_deeplab, write_mobilenet, write_reid, write_road, write_vww
from commands import models, run, verify
from numpy.typing import NDArray
from onnx import TensorProto, helper
from reading_bundles import write_plate_color

from edge_vision.core.detections import Detections
from edge_vision.core.plugin import require
from edge_vision.models.golden import read_golden

SKETCHED = {"yellow": ((0, 200, 250), (0, 200, 250)), "green": ((240, 250, 240), (110, 190, 60))}
"""Plates without a photograph here: blue, green and red at the top and at the bottom. Green ones fade to white."""

Seen = dict[str, list[list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def pictures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures: animals, people or none, plates."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("animals", "people", "plates", "sketches"):
        (folder / name).mkdir()
    for name in ("bird.bmp", "cat.bmp", "dog.jpg"):
        (folder / "animals" / name).symlink_to(data / "images/misc" / name)
    for file in data.glob("images/coco_*_ccby/*.jpg"):
        (folder / "people" / file.name).symlink_to(file)
    for file in data.glob("images/plates_crop/*.jpg"):
        (folder / "plates" / file.name).symlink_to(file)
    for name, (top, bottom) in SKETCHED.items():
        plate = np.repeat(np.linspace(top, bottom, 96).astype(np.uint8)[:, None], 376, axis=1)
        cv2.putText(plate, "A 12345", (20, 70), cv2.FONT_HERSHEY_SIMPLEX, 2.2, (20, 20, 20), 6)
        cv2.imwrite(str(folder / "sketches" / f"{name}.png"), plate)
    return folder


@pytest.fixture(scope="module")
def seen(data: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The objects of each picture, by camera: one run of the daemon with six models."""
    folder = tmp_path_factory.mktemp("site")
    cameras = {
        "deeplab": (write_deeplab(folder / "deeplab", data), "animals", "int8"),
        "mobilenet": (write_mobilenet(folder / "mobilenet", data), "animals", "int8"),
        "vww-float": (write_vww(folder / "vww_float", data, "float"), "people", "f32"),
        "vww-int8": (write_vww(folder / "vww_int8", data, "int8"), "people", "int8"),
        "plates": (write_plate_color(folder / "color", data), "plates", "f32"),
        "sketches": (folder / "color", "sketches", "f32"),
    }
    content = {
        "version": 1,
        "site": "test",
        "cameras": [
            {
                "id": name,
                "source": {"kind": "images", "path": str(pictures / shown)},
                "pipeline": "object_detection",
                "with": {"model": str(model), "precision": precision},
            }
            for name, (model, shown, precision) in cameras.items()
        ],
        "publish": [{"kind": "jsonl", "path": "out.jsonl"}],
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(content))
    done = run("run", folder / "site.yaml")
    assert done.code == 0, done.errors
    found: Seen = defaultdict(list)
    for message in map(json.loads, (folder / "out.jsonl").read_text().splitlines()):
        if message["kind"] == "detections":
            assert message["frame"]["index"] == len(found[message["source"]])
            found[message["source"]].append(message["objects"])
    return found


def _area(outlines: list[list[list[float]]]) -> float:
    """What polygons enclose, holes taken off: those run the other way round."""
    areas = (cv2.contourArea(np.array(one, np.float32), oriented=True) for one in outlines)
    return abs(sum(areas))


def test_a_segmentation_finds_what_is_in_the_picture(seen: Seen) -> None:
    """DeepLab, quantized, with class numbers per pixel: the bird, the cat, and the dog with bicycle and car."""
    bird, cat, dog = seen["deeplab"]
    assert {one["class"] for one in bird} == {"bird"}
    assert {one["class"] for one in cat} == {"cat"}
    assert {one["class"] for one in dog} == {"dog", "bicycle", "car"}
    (one,) = [one for one in dog if one["class"] == "dog"]
    assert one["xyxy"] == pytest.approx([131, 219, 310, 545], abs=25)  # expected/dog_detections.json, by a detector
    for objects in (bird, cat, dog):
        for one in objects:
            assert _area(one["polygons"]) == pytest.approx(one["attributes"]["area_px"], rel=0.03)


def test_a_classifier_tells_a_dog_from_a_cat(seen: Seen) -> None:
    """MobileNet, quantized, of ImageNet's names: a breed of dog among the five best, and cats in front."""
    bird, cat, dog = ([one["class"] for one in objects] for objects in seen["mobilenet"])
    assert len(dog) == 5
    assert "malamute, malemute, Alaskan malamute" in dog
    assert set(cat[:3]) == {"tabby, tabby cat", "tiger cat", "Egyptian cat"}
    assert bird[0] == "chickadee"
    confidences = [one["confidence"] for one in seen["mobilenet"][2]]
    assert confidences == sorted(confidences, reverse=True)
    assert all(one["xyxy"] == [0.0, 0.0, 768.0, 576.0] for one in seen["mobilenet"][2])


def test_float_and_int8_of_one_network_agree_on_whether_people_are_there(
    data: Path, seen: Seen, pictures: Path
) -> None:
    """On all 25 pictures; and 19 of them are right, as with TensorFlow's own interpreter."""
    people: dict[str, bool] = {}
    for annotations in map(json.loads, (file.read_text() for file in data.glob("images/coco_*_ccby/annotations.json"))):
        person = next(one["id"] for one in annotations["categories"] if one["name"] == "person")
        with_people = {one["image_id"] for one in annotations["annotations"] if one["category_id"] == person}
        people.update({one["file_name"]: one["id"] in with_people for one in annotations["images"]})
    names = sorted(file.name for file in (pictures / "people").iterdir())
    assert len(names) == len(seen["vww-float"]) == len(seen["vww-int8"]) == 25
    right = 0
    for name, (one, *_), (other, *_) in zip(names, seen["vww-float"], seen["vww-int8"], strict=True):
        assert one["class"] == other["class"], name
        assert one["confidence"] == pytest.approx(other["confidence"], abs=0.05)
        right += (one["class"] == "person") == people[name]
    assert right == 19


def test_the_color_of_plates_is_told(data: Path, seen: Seen) -> None:
    """A hundred photographs of plates with seven characters, which are blue; and two that are drawn."""
    with (data / "images/plates_crop/labels.csv").open() as file:
        assert all(len(row["plate"]) == 7 for row in csv.DictReader(file))
    assert [objects[0]["class"] for objects in seen["plates"]] == ["blue"] * 100
    assert [objects[0]["class"] for objects in seen["sketches"]] == ["green", "yellow"]


@pytest.fixture(scope="module")
def road(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the road's segmentation with golden data of three frames of a clip. Copy it to change it."""
    folder = tmp_path_factory.mktemp("road")
    (folder / "frames").mkdir()
    clip = cv2.VideoCapture(str(data / "video/car-detection.mp4"))
    for number in range(301):
        image = clip.read()[1]
        if number % 150 == 0:
            cv2.imwrite(str(folder / "frames" / f"{number:03}.png"), image)
    clip.release()
    bundle = write_road(folder / "bundle", data)
    done = models("golden", bundle, "--images", folder / "frames")
    assert done.code == 0, done.errors
    return bundle


def _answers(bundle: Path) -> dict[str, tuple[NDArray[np.uint8], Detections]]:
    """The golden pictures and what was seen in them, by name."""
    golden, problems = read_golden(bundle)
    assert golden is not None, problems
    answers = {one.name: golden.read(one) for one in golden.file.images}
    return {name: (answer.image, answer.detections) for name, answer in answers.items()}


def test_a_segmentation_is_that_of_a_plain_script(road: Path) -> None:
    """Channels last, ONNX: the class of 999 in 1000 pixels at least is that of a few lines of NumPy."""
    from onnxruntime import InferenceSession

    plain = InferenceSession(str(road / "road-segmentation-adas-0001.onnx"), providers=["CPUExecutionProvider"])
    for image, found in _answers(road).values():
        resized = cv2.resize(image, (896, 512)).astype(np.float32)[None]
        expected = plain.run(None, {"data": resized})[0][0].argmax(axis=-1)
        assert found.mask is not None
        classes = np.zeros((512, 896), np.int64)
        cells = np.array([896, 512, 896, 512]) / np.array([768, 432, 768, 432])
        for class_id, box, grid in zip(found.class_id, found.xyxy, found.mask, strict=True):
            left, top, right, bottom = np.rint(box * cells).astype(int)
            classes[top:bottom, left:right][grid] = class_id
        assert (classes == expected).mean() >= 0.999
        assert 0.4 < (classes == 1).mean() < 0.7  # the road
        assert found.attributes["coverage"][found.class_id == 1] == pytest.approx((expected == 1).mean(), abs=1e-3)


@pytest.fixture(scope="module")
def people(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A re-identification's bundle with golden data of four crops of each visitor, seen from head to foot."""
    folder = tmp_path_factory.mktemp("reid")
    (folder / "crops").mkdir()
    wanted: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    rows = csv.reader((data / "tracking/one-by-one/gt.txt").read_text().splitlines())
    visits: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for row in rows:
        frame, track, left, top, width, height = (int(float(value)) for value in row[:6])
        if left > 5 and top > 5 and left + width < 763 and top + height < 427:
            visits[track].append((frame, [left, top, left + width, top + height]))
    for track, found in visits.items():
        for share in (0.25, 0.4, 0.6, 0.75):
            number, corners = found[int(len(found) * share)]
            wanted[number].append((track, corners))
    clip = cv2.VideoCapture(str(data / "video/one-by-one-person-detection.mp4"))
    for number in range(1, max(wanted) + 1):
        image = clip.read()[1]
        for track, (left, top, right, bottom) in wanted.get(number, []):
            cv2.imwrite(str(folder / "crops" / f"{track}-{number:04}.png"), image[top:bottom, left:right])
    clip.release()
    bundle = write_reid(folder / "bundle", data)
    done = models("golden", bundle, "--images", folder / "crops", "--most", "24")
    assert done.code == 0, done.errors
    return bundle


def test_crops_of_a_person_are_more_alike_than_those_of_others(people: Path) -> None:
    """By the cosine of the embeddings: on the whole, and the nearest one is of the same visit, but for one at most."""
    found = _answers(people)
    assert len(found) == 24
    rows = [seen.embedding[0] for _, seen in found.values() if seen.embedding is not None]
    vectors = np.array(rows, np.float64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(24), abs=1e-5)
    visit = np.array([int(name.partition("-")[0]) for name in found])
    alike = vectors @ vectors.T
    same = (visit[:, None] == visit[None]) & ~np.eye(24, dtype=bool)
    other = visit[:, None] != visit[None]
    print(f"same {alike[same].mean():.3f}, others {alike[other].mean():.3f}")
    assert alike[same].mean() > alike[other].mean() + 0.15
    np.fill_diagonal(alike, -1.0)
    nearest = visit[alike.argmax(axis=1)]
    print(f"nearest of the same visit: {(nearest == visit).sum()} of 24")
    assert (nearest == visit).sum() >= 23


def test_a_runtime_that_crashes_on_a_model_is_passed_over(people: Path) -> None:
    """OpenCV 4.14 crashes on this file: the trial takes it, and the others pass."""
    rows = {row["backend"]: row for row in verify(people, "--all-backends")[1] if row["file"]}
    assert rows["onnxruntime"]["passed"]
    assert rows["openvino"]["passed"]
    assert "crashed (SIGSEGV) in a trial of its own process" in rows["opencv_dnn"]["reason"]


def _with(bundle: Path, folder: Path, nodes: list[Any], constants: list[Any]) -> Path:
    """A copy of a bundle with its golden data whose network has more nodes behind its output."""
    shutil.copytree(bundle, folder)
    (file,) = folder.glob("*.onnx")
    model = onnx.load(str(file))
    graph: Any = model.graph
    name = graph.output[0].name
    for node in graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "before"
    nodes[-1].output[0] = name
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    onnx.save(model, str(file))
    return folder


def _constant(name: str, values: list[int]) -> Any:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def test_a_runtime_whose_masks_are_shifted_is_refused(road: Path, tmp_path: Path) -> None:
    """By a twentieth of the height: scores and classes stay what they are."""
    nodes = [
        helper.make_node("Slice", ["before", "zero", "middle", "rows"], ["upper"]),
        helper.make_node("Slice", ["before", "middle", "whole", "rows"], ["lower"]),
        helper.make_node("Concat", ["lower", "upper"], ["after"], axis=1),
    ]
    constants = [_constant(*one) for one in (("zero", [0]), ("middle", [486]), ("whole", [512]), ("rows", [1]))]
    code, rows = verify(_with(road, tmp_path / "shifted", nodes, constants), "--backend", "onnxruntime")
    (row,) = rows
    assert (code, row["passed"]) == (1, False)
    assert row["verdict"]["agreement"]["mean_iou"] < 0.98
    assert "sees something else at f32: " in row["reason"]
    assert f"mean overlap {row['verdict']['agreement']['mean_iou']:.3f} (limit 0.99)" in row["reason"]
    print(row["reason"])


def test_a_runtime_whose_embeddings_are_bent_is_refused(people: Path, tmp_path: Path) -> None:
    """Every number without its sign, as a stray ReLU leaves them: still of unit length, another direction."""
    nodes = [helper.make_node("Relu", ["before"], ["after"])]
    code, rows = verify(_with(people, tmp_path / "bent", nodes, []), "--backend", "onnxruntime")
    (row,) = rows
    assert (code, row["passed"]) == (1, False)
    distance = row["verdict"]["agreement"]["embedding_distance"]
    assert row["reason"].endswith(f"embedding distance {distance:.4f} (limit 0.001)")
    print(row["reason"])


def test_classes_are_verified_against_what_another_framework_sees(data: Path, pictures: Path, tmp_path: Path) -> None:
    """TFLite's own interpreter, without the product around it; other answers are refused, and so are labeled boxes."""
    library: Any = require("ai_edge_litert.interpreter", "litert")
    bundle = write_mobilenet(tmp_path / "bundle", data)
    labels = (bundle / "imagenet_labels.txt").read_text().splitlines()
    plain = library.Interpreter(str(bundle / "mobilenet_v1_0.25_128_quant.tflite"))
    plain.allocate_tensors()
    expected: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((pictures / "animals").iterdir()):
        image = cv2.cvtColor(cv2.resize(cv2.imread(str(file)), (128, 128)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type] # it is there
        plain.set_tensor(plain.get_input_details()[0]["index"], image[None])
        plain.invoke()
        scores = plain.get_tensor(plain.get_output_details()[0]["index"])[0] / 256
        expected[file.name] = [
            {"class": labels[place], "confidence": float(scores[place])} for place in np.flatnonzero(scores >= 0.02)
        ]
    answers = tmp_path / "expected.json"
    answers.write_text(json.dumps(expected))
    done = models("golden", bundle, "--images", pictures / "animals", "--expected", answers)
    assert done.code == 0, done.errors
    assert "verified against expected.json: " in done.output
    expected["cat.bmp"][-1]["confidence"] = 0.9
    answers.write_text(json.dumps(expected))
    done = models("golden", bundle, "--images", pictures / "animals", "--expected", answers)
    assert done.code == 78
    assert "the model does not see what is written there" in done.errors
    boxes = data / "images/coco_det_ccby/annotations.json"
    done = models("golden", bundle, "--images", pictures / "animals", "--labels", boxes)
    assert done.code == 78
    assert "labeled boxes show nothing of a model of format classification" in done.errors


def test_a_runtime_that_reads_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    """LPRNet whose classes moved by one, as with a dictionary of another release: as sure as before, other plates."""
    bundle = write_bundle(
        tmp_path / "lprnet",
        data / "models/lprnet",
        {
            "name": "lprnet",
            "task": "recognition",
            "files": [{"path": "lprnet.onnx", "format": "onnx"}],
            "input": {"size": [94, 24], "color": "bgr", "resize": "stretch", "mean": [127.5] * 3, "std": [128] * 3},
            "output": {"format": "ctc", "layout": "nct", "blank": 67},
            "labels": (data / "models/lprnet/chars.txt").read_text().splitlines(),
        },
    )
    (tmp_path / "plates").mkdir()
    for number in range(10):
        (tmp_path / "plates" / f"{number:03}.jpg").symlink_to(data / f"images/plates_crop/{number:03}.jpg")
    done = models("golden", bundle, "--images", tmp_path / "plates", "--most", "10")
    assert done.code == 0, done.errors
    places = [*range(1, 67), 0, 67]
    nodes = [helper.make_node("Gather", ["before", "places"], ["after"], axis=1)]
    moved = _with(bundle, tmp_path / "moved", nodes, [_constant("places", places)])
    code, rows = verify(moved, "--backend", "onnxruntime")
    (row,) = rows
    assert (code, row["passed"]) == (1, False)
    agreement = row["verdict"]["agreement"]
    assert (agreement["found"], agreement["score_diff"]) == (10, pytest.approx(0.0, abs=1e-5))
    assert row["reason"].endswith(f"text difference {agreement['text_diff']:.4f} (limit 0)")
    print(row["reason"])


def test_an_imported_classifier_is_called_one(data: Path, tmp_path: Path) -> None:
    """The task follows from the output format."""
    source = data / "models/mobilenet_v1_025_128"
    names = source / "imagenet_labels.txt"
    wishes = ("--set", "output.format=classification", "--set", "input.resize=stretch")
    weights, bundle = source / "mobilenet_v1_0.25_128_quant.tflite", tmp_path / "bundle"
    done = models("import", weights, "-o", bundle, "--labels", names, *wishes)
    assert done.code == 0, done.errors
    assert "mobilenet_v1_0.25_128_quant: classification, 1001 labels: background" in models("show", bundle).output
