"""Ground truth: labeled pictures in COCO's format, and the answers of a training framework."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.geometry import overlaps
from edge_vision.core.plugin import require
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.core.stages import Fact

_SAME: Final = 0.5
"""Boxes that overlap by half or more are the same object."""
_PLAIN: Final = 3
"""From so many objects on a wrong name is no accident."""


@dataclass(frozen=True, slots=True)
class Precision:
    """COCO average precision: `ap` over overlaps 0.5 to 0.95, `ap50` and `ap75` at one."""

    ap: float
    ap50: float
    ap75: float

    def __str__(self) -> str:
        return f"AP {self.ap:.4f}, AP50 {self.ap50:.4f}, AP75 {self.ap75:.4f}"


class Labeled:
    """A file of labeled pictures in COCO's format; categories and labels are matched by name."""

    def __init__(self, file: Path, labels: Sequence[str]) -> None:
        """Read it. Raises ConfigError when it is not such a file or shares no category with the labels."""
        content = read_json(file)
        try:
            self._images = {Path(image["file_name"]).name: int(image["id"]) for image in content["images"]}
            categories = {str(category["name"]): int(category["id"]) for category in content["categories"]}
            objects = content["annotations"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            msg = f"{file}: is not a COCO annotation file: {error!r} in images, categories or annotations"
            raise ConfigError(msg) from error
        self.file = file
        self._labels = tuple(labels)
        self._objects = _objects(file, objects)
        self._categories = [categories.get(label) for label in labels]
        if not any(category is not None for category in self._categories):
            has = ", ".join(sorted(categories)[:10]) or "no categories"
            msg = f"{file}: has none of the model's labels; it has {has}"
            raise ConfigError(msg)

    def __contains__(self, name: str) -> bool:
        return name in self._images

    def mistaken(self, found: Mapping[str, Detections]) -> str:
        """A label that is written on objects of another class, as when two labels changed places; empty without one.

        Only what is plain: three objects or more, four times as many as are called rightly, and most of that class.
        """
        counts = np.zeros((len(self._categories), len(self._categories)), np.int64)
        for name, detections in found.items():
            rows = [row for row in self._objects if row["image_id"] == self._images[name]]
            known = [row for row in rows if row["category_id"] in self._categories and not row["iscrowd"]]
            truth = np.array([row["bbox"] for row in known], np.float32).reshape(-1, 4)
            truth[:, 2:] += truth[:, :2]
            overlap = overlaps(detections.xyxy, truth)
            for place in np.flatnonzero(overlap.max(axis=1, initial=0.0) >= _SAME):
                real = self._categories.index(known[int(overlap[place].argmax())]["category_id"])
                counts[detections.class_id[place], real] += 1
        for label, real in np.argwhere(counts >= _PLAIN):
            count = counts[label, real]
            if label != real and count > 4 * counts[label, label] and count > counts[real, real]:
                called, named = self._labels[label], self._labels[real]
                return f"what the model calls {called} is labeled {named} ({count} of {counts[label].sum()} objects)"
        return ""

    def average_precision(self, found: Mapping[str, Detections]) -> Precision:
        """AP of what was found in each picture, by file name, as pycocotools computes it.

        Raises ConfigError for a picture the file does not know and for pictures without a labeled object,
        MissingLibraryError without pycocotools.
        """
        rows: list[dict[str, Any]] = []
        for name, detections in found.items():
            if name not in self._images:
                msg = f"{self.file}: has no picture {name}{did_you_mean(name, tuple(self._images))}"
                raise ConfigError(msg)
            sides = detections.xyxy.copy()
            sides[:, 2:] -= sides[:, :2]
            for box, score, class_id in zip(sides.tolist(), detections.confidence, detections.class_id, strict=True):
                category = self._categories[int(class_id)]
                if category is not None:
                    image = self._images[name]
                    rows.append({"image_id": image, "category_id": category, "bbox": box, "score": float(score)})
        shown = {self._images[name] for name in found}
        if not any(one["image_id"] in shown and one["category_id"] in self._categories for one in self._objects):
            msg = f"{self.file}: no object of the model's classes is labeled in these pictures ({len(found)})"
            raise ConfigError(msg)
        if not rows:
            return Precision(0.0, 0.0, 0.0)
        coco: Any = require("pycocotools.coco", "models")
        evaluation: Any = require("pycocotools.cocoeval", "models")
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress
            truth = coco.COCO()
            truth.dataset = {
                "images": [{"id": number} for number in self._images.values()],
                "categories": [{"id": one} for one in sorted({one for one in self._categories if one is not None})],
                "annotations": self._objects,
            }
            truth.createIndex()
            judge = evaluation.COCOeval(truth, truth.loadRes(rows), "bbox")
            judge.params.imgIds = [self._images[name] for name in found]
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return Precision(*(max(0.0, float(value)) for value in judge.stats[:3]))


def read_expected(
    file: Path, labels: Sequence[str], gives: frozenset[Fact] = frozenset({"box", "class"})
) -> dict[str, Detections]:
    """What another framework saw: {"picture.jpg": [{"class": label, "confidence": c, "xyxy": [l, t, r, b]}, ...]}.

    Of a model that gives no box, or no class, the objects have none; of one that reads they have `text`, of one that
    describes an `embedding`, of unit length here whatever its own. A box that is not there is from 0 to 1.

    Raises ConfigError with the picture and the number of what is wrong.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        msg = f"{file}: must be an object with a list per picture"
        raise ConfigError(msg)
    found: dict[str, Detections] = {}
    for name, objects in content.items():
        if not isinstance(objects, list):
            msg = f"{file}: {name}: must be a list of objects"
            raise ConfigError(msg)
        places = (f"{file}: {name}: object {number}" for number in range(1, len(objects) + 1))
        seen = [_expected(where, one, labels, gives) for where, one in zip(places, objects, strict=True)]
        found[name] = Detections(
            np.array([box for box, *_ in seen], np.float32).reshape(-1, 4),
            np.array([confidence for _, confidence, *_ in seen], np.float32),
            np.array([class_id for _, _, class_id, _ in seen], np.int32),
            text=np.array([text for *_, text in seen], str) if "text" in gives else None,
            embedding=_embeddings(f"{file}: {name}", objects) if "embedding" in gives else None,
        )
    return found


def _expected(
    where: str, one: Any, labels: Sequence[str], gives: frozenset[Fact]
) -> tuple[tuple[float, ...], float, int, str]:
    """Box, confidence, class and text of one object. Raises ConfigError."""
    known = (("class", "class"), ("xyxy", "box"), ("text", "text"), ("embedding", "embedding"))
    keys = [key for key, fact in known if fact in gives]
    needed = sorted([*keys, "confidence"])
    if not isinstance(one, dict) or not one.keys() >= set(needed):
        msg = f"{where}: needs {', '.join(needed[:-1])} and {needed[-1]}" if keys else f"{where}: needs confidence"
        raise ConfigError(msg)
    label, text = one.get("class"), one.get("text", "")
    box = _numbers(one["xyxy"], 4) if "box" in gives else (0.0, 0.0, 1.0, 1.0)
    if "class" in gives and (not isinstance(label, str) or label not in labels):
        msg = f"{where}: class {label!r} is no label of the model{did_you_mean(str(label), tuple(labels))}"
        raise ConfigError(msg)
    if not isinstance(text, str):
        msg = f"{where}: text must be a string, not {text!r}"
        raise ConfigError(msg)
    if (confidence := _numbers([one["confidence"]], 1)) is None or not 0.0 <= confidence[0] <= 1.0:
        msg = f"{where}: confidence must be a number from 0 to 1, not {one['confidence']!r}"
        raise ConfigError(msg)
    if box is None or box[2] <= box[0] or box[3] <= box[1]:
        msg = f"{where}: xyxy must be [left, top, right, bottom] in pixels of the picture, not {one['xyxy']!r}"
        raise ConfigError(msg)
    return box, confidence[0], labels.index(str(label)) if "class" in gives else 0, text


def _embeddings(where: str, objects: list[dict[str, Any]]) -> NDArray[np.float32] | None:
    """The descriptions (n, d) of a picture's objects; None without objects. Raises ConfigError."""
    rows: list[NDArray[np.float64]] = []
    for number, one in enumerate(objects, 1):
        values = one["embedding"]
        vector = _numbers(values, len(values)) if isinstance(values, list) else None
        length = float(np.linalg.norm(vector)) if vector else 0.0
        if vector is None or length == 0.0 or (rows and len(rows[0]) != len(vector)):
            msg = f"{where}: object {number}: embedding must be a list of numbers, not all 0, as long as the others"
            raise ConfigError(msg)
        rows.append(np.array(vector) / length)
    return np.array(rows, np.float32) if rows else None


def _objects(file: Path, annotations: Any) -> list[dict[str, Any]]:
    """The labeled objects, with what COCO's tools need and many a labeling tool leaves out. Raises ConfigError."""
    if not isinstance(annotations, list):
        msg = f"{file}: is not a COCO annotation file: annotations must be a list"
        raise ConfigError(msg)
    objects: list[dict[str, Any]] = []
    for number, one in enumerate(annotations, 1):
        try:
            box, image, category = _numbers(one["bbox"], 4), int(one["image_id"]), int(one["category_id"])
            crowd, area = int(one.get("iscrowd", 0)), one.get("area")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            msg = f"{file}: annotation {number}: is not an object with image_id, category_id and bbox: {error!r}"
            raise ConfigError(msg) from error
        if box is None:
            msg = f"{file}: annotation {number}: bbox must be [left, top, width, height], not {one['bbox']!r}"
            raise ConfigError(msg)
        size = (_numbers([area], 1) or (box[2] * box[3],))[0]
        keys = {"id": number, "image_id": image, "category_id": category, "bbox": list(box)}
        objects.append({**keys, "area": size, "iscrowd": crowd})
    return objects


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """So many finite numbers, or None."""
    if not isinstance(values, list) or len(values) != count:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return tuple(map(float, values)) if np.isfinite(values).all() else None


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises ConfigError that names it."""
    if why := why_not_file(file):
        msg = f"{file}: {why}"
        raise ConfigError(msg)
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        msg = f"{file}: is not JSON: {error}"
        raise ConfigError(msg) from error
