"""Makes the golden data of the defect model: drawn pictures, checked against the truth the drawing knows.

Writes configs/demo/defects/golden. Run it after every change of the model or of its model.yaml.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vision.capture.conveyor import SURFACES, Conveyor
from edge_vision.cli.command import run_command

BUNDLE = Path(__file__).resolve().parent.parent / "configs/demo/defects"
WH = (640, 360)
FIRST_SEED = 4_500_000  # training seeds lie below 1,000,000
PICTURES = 40
KEPT = 1
LEAST_PX = 12
"""Smaller regions of the truth are left out, as the model's own are."""


def main() -> int:
    """Draw, label, and run `edge-vision models golden`; its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["models", "golden", str(BUNDLE), "--images", name, "--labels", str(draw(folder)), "--most", str(KEPT)]
        return run_command(words)


def draw(folder: Path) -> Path:
    """Draw the pictures and write their truth in COCO's format; its file."""
    images, annotations = [], []
    image = np.empty((WH[1], WH[0], 3), np.uint8)
    for number in range(PICTURES):
        line = Conveyor(WH, 25.0, FIRST_SEED + number, defect_rate=0.5)
        file = f"line-{number:02}.png"
        line.draw(150, image)
        cv2.imwrite(str(folder / file), image)
        images.append({"id": number, "file_name": file, "width": WH[0], "height": WH[1]})
        for category, box in boxes(line.surfaces(150)):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0,
                    "bbox": box, "area": box[2] * box[3],
                }
            )  # fmt: skip
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(SURFACES)]
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return labels


def boxes(surfaces: NDArray[np.uint8]) -> Iterator[tuple[int, list[int]]]:
    """The category and the box (left, top, width, height) around all that belongs to it.

    Golden data compare a label's pixels as a whole: where a runtime cuts a region in two, nothing has changed.
    """
    for category in range(1, 1 + len(SURFACES)):
        member = surfaces > 0 if category == 1 else surfaces == category
        if member.sum() >= LEAST_PX:
            left, top, width, height = cv2.boundingRect(member.astype(np.uint8))
            yield category, [left, top, width, height]


if __name__ == "__main__":
    raise SystemExit(main())
