"""Makes the golden data of the demo's detector: drawn pictures, checked against the truth the drawing knows.

Writes configs/demo/parts/golden. Run it after every change of the detector or of its model.yaml.
"""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_vision.capture.conveyor import LABELS, Conveyor
from edge_vision.cli.command import run_command

BUNDLE = Path(__file__).resolve().parent.parent / "configs/demo/parts"
WH = (480, 270)
FIRST_SEED = 4_000_000  # training seeds lie below 1,000,000
PICTURES = 60
KEPT = 2


def main() -> int:
    """Draw, label, and run `edge-vision models golden`; its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return run_command(
            [
                "models",
                "golden",
                str(BUNDLE),
                "--images",
                str(folder),
                "--labels",
                str(draw(folder)),
                "--most",
                str(KEPT),
            ]
        )


def draw(folder: Path) -> Path:
    """Draw the pictures and write their truth in COCO's format; its file."""
    images, annotations = [], []
    image = np.empty((WH[1], WH[0], 3), np.uint8)
    for number in range(PICTURES):
        conveyor = Conveyor(WH, 25.0, FIRST_SEED + number)
        file = f"line-{number:02}.png"
        conveyor.draw(100, image)
        cv2.imwrite(str(folder / file), image)
        images.append({"id": number, "file_name": file, "width": WH[0], "height": WH[1]})
        truth = conveyor.truth(100)
        for (left, top, right, bottom), class_id in zip(truth.xyxy.tolist(), truth.class_id.tolist(), strict=True):
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": class_id + 1, "iscrowd": 0,
                    "bbox": box, "area": box[2] * box[3],
                }
            )  # fmt: skip
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(LABELS)]
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return labels


if __name__ == "__main__":
    raise SystemExit(main())
