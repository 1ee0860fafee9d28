"""Ground truth: labeled pictures in COCO's format, and the answers of a training framework."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.plugin import require
from edge_vision.core.schema_errors import did_you_mean


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
            categories = {category["name"]: int(category["id"]) for category in content["categories"]}
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{file}: is not a COCO annotation file: {error!r} in images or categories"
            raise ConfigError(msg) from error
        self.file = file
        self._categories = [categories.get(label) for label in labels]
        if not any(category is not None for category in self._categories):
            msg = f"{file}: has none of the model's labels; it has {', '.join(sorted(categories)[:10])}"
            raise ConfigError(msg)

    def __contains__(self, name: str) -> bool:
        return name in self._images

    def average_precision(self, found: Mapping[str, Detections]) -> Precision:
        """AP of what was found in each picture, by file name, as pycocotools computes it.

        Raises ConfigError for a picture the file does not know, MissingLibraryError without pycocotools.
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
        if not rows:
            return Precision(0.0, 0.0, 0.0)
        coco: Any = require("pycocotools.coco", "models")
        evaluation: Any = require("pycocotools.cocoeval", "models")
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress
            truth = coco.COCO(str(self.file))
            judge = evaluation.COCOeval(truth, truth.loadRes(rows), "bbox")
            judge.params.imgIds = [self._images[name] for name in found]
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return Precision(*(max(0.0, float(value)) for value in judge.stats[:3]))


def read_expected(file: Path, labels: Sequence[str]) -> dict[str, Detections]:
    """What another framework saw: {"picture.jpg": [{"class": label, "confidence": c, "xyxy": [l, t, r, b]}, ...]}.

    Raises ConfigError with the picture and the number of what is wrong.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        msg = f"{file}: must be an object with a list per picture"
        raise ConfigError(msg)
    found: dict[str, Detections] = {}
    for name, objects in content.items():
        try:
            found[name] = Detections(
                np.array([one["xyxy"] for one in objects], np.float32).reshape(-1, 4),
                np.array([one["confidence"] for one in objects], np.float32),
                np.array([labels.index(one["class"]) for one in objects], np.int32),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{file}: {name}: every object needs class (a label), confidence and xyxy: {error}"
            raise ConfigError(msg) from error
    return found


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
