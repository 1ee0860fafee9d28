"""Files of ground truth are taken as labeling tools write them, and refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.stages import Fact
from edge_vision.models.proof.truth import Labeled, read_expected

BOX = {"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40]}
SEEN = Detections(np.array([[10, 20, 40, 60]], np.float32), np.array([0.9], np.float32), np.array([1], np.int32))


def _coco(folder: Path, annotations: Any, **more: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 8, "name": "horse"}],
        "annotations": annotations,
        **more,
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def test_labels_need_no_more_than_a_box(tmp_path: Path) -> None:
    """Without id, area and iscrowd, which COCO's tools cannot do without."""
    labeled = Labeled(_coco(tmp_path, [BOX]), ["cat", "dog"])
    assert labeled.average_precision({"a.jpg": SEEN}).ap == pytest.approx(1.0)


def test_a_model_is_not_blamed_for_classes_that_it_does_not_know(tmp_path: Path) -> None:
    """A horse in the picture, and no such label."""
    labeled = Labeled(_coco(tmp_path, [BOX, {**BOX, "category_id": 8}]), ["cat", "dog"])
    assert labeled.average_precision({"a.jpg": SEEN}).ap == pytest.approx(1.0)


def test_nothing_labeled_is_no_figure(tmp_path: Path) -> None:
    """AP 0 would say that the model is bad."""
    labeled = Labeled(_coco(tmp_path, [{**BOX, "category_id": 8}]), ["cat", "dog"])
    with pytest.raises(ConfigError, match="no object of the model's classes is labeled in these pictures"):
        labeled.average_precision({"a.jpg": SEEN})


@pytest.mark.parametrize(
    "annotations, said",
    [
        (5, "annotations must be a list"),
        (["x"], "annotation 1: is not an object with image_id"),
        ([BOX, {"image_id": 1}], "annotation 2: is not an object with image_id, category_id and bbox: KeyError"),
        ([{**BOX, "image_id": "x"}], "annotation 1: is not an object"),
        ([{**BOX, "bbox": [1, 2]}], r"annotation 1: bbox must be \[left, top, width, height\], not \[1, 2\]"),
        ([{**BOX, "bbox": [1, 2, 3, float("nan")]}], "annotation 1: bbox must be"),
    ],
)
def test_wrong_annotations_are_named_by_number(annotations: Any, said: str, tmp_path: Path) -> None:
    """Not as an error of the tools behind it."""
    with pytest.raises(ConfigError, match=said):
        Labeled(_coco(tmp_path, annotations), ["dog"])


@pytest.mark.parametrize(
    "objects, said",
    [
        (None, "a.jpg: must be a list of objects"),
        ([{"class": "dog"}], "object 1: needs class, confidence and xyxy"),
        ([{"class": "dogg", "confidence": 0.9, "xyxy": [1, 2, 3, 4]}], "'dogg' is no label of the model; .* dog"),
        ([{"class": "dog", "confidence": "x", "xyxy": [1, 2, 3, 4]}], "confidence must be a number from 0 to 1"),
        ([{"class": "dog", "confidence": 90, "xyxy": [1, 2, 3, 4]}], "confidence must be a number from 0 to 1"),
        ([{"class": "dog", "confidence": 0.9, "xyxy": [5, 5, 3, 4]}], r"xyxy must be \[left, top, right, bottom\]"),
        (
            [{"class": "dog", "confidence": 0.9, "xyxy": [1, 2]}, {"class": "dog", "confidence": 0.9, "xyxy": [1] * 6}],
            "object 1: xyxy must be",
        ),
    ],
)
def test_wrong_answers_of_a_framework_are_named_by_number(objects: Any, said: str, tmp_path: Path) -> None:
    """And two boxes of two and six numbers are not two of four."""
    (tmp_path / "e.json").write_text(json.dumps({"a.jpg": objects}))
    with pytest.raises(ConfigError, match=said):
        read_expected(tmp_path / "e.json", ["cat", "dog"])


@pytest.mark.parametrize(
    "gives, one, said",
    [
        ({"class"}, {"class": "dog"}, "object 1: needs class and confidence"),
        ({"text"}, {"confidence": 0.9}, "object 1: needs confidence and text"),
        ({"text"}, {"confidence": 0.9, "text": 7}, "object 1: text must be a string, not 7"),
        ({"embedding"}, {}, "object 1: needs confidence"),
    ],
)
def test_answers_have_what_the_model_gives(gives: set[Fact], one: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A classifier has no boxes, a reader no classes."""
    (tmp_path / "e.json").write_text(json.dumps({"a.jpg": [one]}))
    with pytest.raises(ConfigError, match=said):
        read_expected(tmp_path / "e.json", ["cat", "dog"], frozenset(gives))


def test_texts_and_classes_of_whole_pictures_are_read(tmp_path: Path) -> None:
    """Their box goes from 0 to 1."""
    file = tmp_path / "e.json"
    file.write_text(json.dumps({"a.jpg": [{"confidence": 0.9, "text": "AB 1"}], "b.jpg": []}))
    read = read_expected(file, ["A", "B"], frozenset({"text"}))
    assert read["a.jpg"].text is not None
    assert (read["a.jpg"].text.tolist(), read["a.jpg"].xyxy.tolist()) == (["AB 1"], [[0.0, 0.0, 1.0, 1.0]])
    assert len(read["b.jpg"]) == 0
    file.write_text(json.dumps({"a.jpg": [{"confidence": 0.9, "class": "dog"}]}))
    assert read_expected(file, ["cat", "dog"], frozenset({"class"}))["a.jpg"].class_id.tolist() == [1]


@pytest.mark.parametrize("labels, said", [(["cat", "dog"], ""), (["dog", "cat"], "calls cat is labeled dog (3 of 3")])
def test_labels_that_changed_places_are_noticed(labels: list[str], said: str, tmp_path: Path) -> None:
    """The average over all classes hardly shows it."""
    places = [[20.0 * number, 0.0, 10.0, 10.0] for number in range(3)]
    categories = [{"id": 7, "name": "dog"}, {"id": 8, "name": "cat"}]
    labeled = Labeled(_coco(tmp_path, [{**BOX, "bbox": box} for box in places], categories=categories), labels)
    boxes = np.array([[left, top, left + 10, top + 10] for left, top, _, _ in places], np.float32)
    seen = Detections(boxes, np.full(3, 0.9, np.float32), np.ones(3, np.int32))
    assert said in labeled.mistaken({"a.jpg": seen})
    assert bool(labeled.mistaken({"a.jpg": seen})) == bool(said)


def test_an_expected_embedding_is_a_direction(tmp_path: Path) -> None:
    """Of unit length, whatever its own; without one nothing would be compared."""
    file, gives = tmp_path / "expected.json", frozenset[Fact]({"embedding"})
    file.write_text(json.dumps({"a.jpg": [{"confidence": 1, "embedding": [3, 4]}], "b.jpg": []}))
    found = read_expected(file, (), gives)
    assert found["a.jpg"].embedding is not None
    assert found["a.jpg"].embedding.tolist() == [pytest.approx([0.6, 0.8])]
    assert found["b.jpg"].embedding is None
    for objects, said in (
        ([{"confidence": 1}], "object 1: needs confidence and embedding"),
        ([{"confidence": 1, "embedding": [0, 0]}], "object 1: embedding must be a list of numbers, not all 0"),
        ([{"confidence": 1, "embedding": "x"}], "object 1: embedding must be a list"),
        ([{"confidence": 1, "embedding": [1]}, {"confidence": 1, "embedding": [1, 2]}], "object 2: embedding must be"),
    ):
        file.write_text(json.dumps({"a.jpg": objects}))
        with pytest.raises(ConfigError, match=said):
            read_expected(file, (), gives)
